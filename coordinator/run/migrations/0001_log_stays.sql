-- Segments of the log and accepted reports are only ever added; a segment changes once, from staged to stored.
CREATE TRIGGER `segment_stays` BEFORE DELETE ON `segment` BEGIN SELECT RAISE(ABORT, 'a segment stays'); END;
--> statement-breakpoint
CREATE TRIGGER `segment_is_fixed` BEFORE UPDATE ON `segment` WHEN NEW.`first` <> OLD.`first` OR NEW.`text` <> OLD.`text` OR NEW.`stored` < OLD.`stored` BEGIN SELECT RAISE(ABORT, 'a segment is fixed'); END;
--> statement-breakpoint
CREATE TRIGGER `report_stays` BEFORE DELETE ON `report` BEGIN SELECT RAISE(ABORT, 'a report stays'); END;
--> statement-breakpoint
CREATE TRIGGER `report_is_fixed` BEFORE UPDATE ON `report` BEGIN SELECT RAISE(ABORT, 'a report is fixed'); END;
