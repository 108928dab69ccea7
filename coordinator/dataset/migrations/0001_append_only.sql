-- No charge is ever removed or changed, and no count is ever lowered.
CREATE TRIGGER `charge_stays` BEFORE DELETE ON `charge` BEGIN SELECT RAISE(ABORT, 'a charge stays'); END;
--> statement-breakpoint
CREATE TRIGGER `charge_is_fixed` BEFORE UPDATE ON `charge` BEGIN SELECT RAISE(ABORT, 'a charge is fixed'); END;
--> statement-breakpoint
CREATE TRIGGER `spend_stays` BEFORE DELETE ON `spend` BEGIN SELECT RAISE(ABORT, 'spend stays'); END;
--> statement-breakpoint
CREATE TRIGGER `spend_grows` BEFORE UPDATE ON `spend` WHEN NEW.`count` <= OLD.`count` BEGIN SELECT RAISE(ABORT, 'spend grows'); END;
