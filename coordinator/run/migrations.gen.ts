// Written by coordinator/storage/generate.ts.
import type { Migrations } from '../storage/index.ts'

export const migrations: Migrations = {
  "journal": {
    "entries": [
      {
        "idx": 0,
        "when": 1795473167055,
        "tag": "0000_initial",
        "breakpoints": true
      },
      {
        "idx": 1,
        "when": 1795473167891,
        "tag": "0001_log_stays",
        "breakpoints": true
      },
      {
        "idx": 2,
        "when": 1795733787986,
        "tag": "0002_times",
        "breakpoints": true
      },
      {
        "idx": 3,
        "when": 1795736805097,
        "tag": "0003_signers",
        "breakpoints": true
      }
    ]
  },
  "migrations": {
    "m0000": "CREATE TABLE `checkpoint` (\n\t`rounds` integer PRIMARY KEY NOT NULL,\n\t`size` integer NOT NULL,\n\t`sha256` text NOT NULL,\n\tCONSTRAINT \"checkpoint_hash\" CHECK(length(\"checkpoint\".\"sha256\") = 64)\n);\n--> statement-breakpoint\nCREATE TABLE `hold` (\n\t`lease` text PRIMARY KEY NOT NULL,\n\t`worker` text NOT NULL,\n\t`expires` integer NOT NULL\n);\n--> statement-breakpoint\nCREATE TABLE `report` (\n\t`lease` text PRIMARY KEY NOT NULL,\n\t`round` integer NOT NULL,\n\t`dataset` text NOT NULL,\n\t`worker` text NOT NULL,\n\t`bodyHash` text NOT NULL,\n\t`integers` text NOT NULL,\n\t`signature` text NOT NULL,\n\t`bytes` integer NOT NULL,\n\tCONSTRAINT \"report_hash\" CHECK(length(\"report\".\"bodyHash\") = 64),\n\tCONSTRAINT \"report_bytes\" CHECK(\"report\".\"bytes\" > 0)\n);\n--> statement-breakpoint\nCREATE INDEX `report_round` ON `report` (`round`);--> statement-breakpoint\nCREATE TABLE `run` (\n\t`one` integer PRIMARY KEY NOT NULL,\n\t`id` text NOT NULL,\n\t`fault` text,\n\t`reason` text,\n\tCONSTRAINT \"run_one_row\" CHECK(\"run\".\"one\" = 1)\n);\n--> statement-breakpoint\nCREATE TABLE `segment` (\n\t`first` integer PRIMARY KEY NOT NULL,\n\t`text` text NOT NULL,\n\t`stored` integer DEFAULT 0 NOT NULL,\n\tCONSTRAINT \"segment_first\" CHECK(\"segment\".\"first\" >= 0),\n\tCONSTRAINT \"segment_stored\" CHECK(\"segment\".\"stored\" in (0, 1))\n);\n",
    "m0001": "-- Segments of the log and accepted reports are only ever added; a segment changes once, from staged to stored.\nCREATE TRIGGER `segment_stays` BEFORE DELETE ON `segment` BEGIN SELECT RAISE(ABORT, 'a segment stays'); END;\n--> statement-breakpoint\nCREATE TRIGGER `segment_is_fixed` BEFORE UPDATE ON `segment` WHEN NEW.`first` <> OLD.`first` OR NEW.`text` <> OLD.`text` OR NEW.`stored` < OLD.`stored` BEGIN SELECT RAISE(ABORT, 'a segment is fixed'); END;\n--> statement-breakpoint\nCREATE TRIGGER `report_stays` BEFORE DELETE ON `report` BEGIN SELECT RAISE(ABORT, 'a report stays'); END;\n--> statement-breakpoint\nCREATE TRIGGER `report_is_fixed` BEFORE UPDATE ON `report` BEGIN SELECT RAISE(ABORT, 'a report is fixed'); END;\n",
    "m0002": "ALTER TABLE `hold` ADD `taken` integer;--> statement-breakpoint\nALTER TABLE `report` ADD `taken` integer;--> statement-breakpoint\nALTER TABLE `report` ADD `received` integer;",
    "m0003": "ALTER TABLE `report` ADD `publicKey` text DEFAULT '' NOT NULL;"
  }
}
