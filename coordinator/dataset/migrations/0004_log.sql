CREATE TABLE `record` (
	`seq` integer PRIMARY KEY NOT NULL,
	`line` text NOT NULL,
	CONSTRAINT "record_seq" CHECK("record"."seq" >= 0)
);
--> statement-breakpoint
CREATE TABLE `segment` (
	`first` integer PRIMARY KEY NOT NULL,
	`records` integer NOT NULL,
	`stored` integer DEFAULT 0 NOT NULL,
	CONSTRAINT "segment_records" CHECK("segment"."records" > 0),
	CONSTRAINT "segment_stored" CHECK("segment"."stored" in (0, 1))
);
--> statement-breakpoint
ALTER TABLE `dataset` ADD `fault` text;
--> statement-breakpoint
-- No record is ever removed or changed.
CREATE TRIGGER `record_stays` BEFORE DELETE ON `record` BEGIN SELECT RAISE(ABORT, 'a record stays'); END;
--> statement-breakpoint
CREATE TRIGGER `record_is_fixed` BEFORE UPDATE ON `record` BEGIN SELECT RAISE(ABORT, 'a record is fixed'); END;
--> statement-breakpoint
CREATE TRIGGER `segment_stays` BEFORE DELETE ON `segment` BEGIN SELECT RAISE(ABORT, 'a segment stays'); END;
