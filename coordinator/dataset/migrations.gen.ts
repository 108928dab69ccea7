// Written by coordinator/storage/generate.ts.
import type { Migrations } from '../storage/index.ts'

export const migrations: Migrations = {
  "journal": {
    "entries": [
      {
        "idx": 0,
        "when": 1795473166693,
        "tag": "0000_initial",
        "breakpoints": true
      },
      {
        "idx": 1,
        "when": 1795473167409,
        "tag": "0001_append_only",
        "breakpoints": true
      },
      {
        "idx": 2,
        "when": 1795725497873,
        "tag": "0002_count",
        "breakpoints": true
      },
      {
        "idx": 3,
        "when": 1795726959745,
        "tag": "0003_reservations",
        "breakpoints": true
      },
      {
        "idx": 4,
        "when": 1795755352524,
        "tag": "0004_log",
        "breakpoints": true
      }
    ]
  },
  "migrations": {
    "m0000": "CREATE TABLE `charge` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`run` text NOT NULL,\n\t`event` text NOT NULL,\n\t`time` integer NOT NULL\n);\n--> statement-breakpoint\nCREATE TABLE `dataset` (\n\t`one` integer PRIMARY KEY NOT NULL,\n\t`id` text NOT NULL,\n\t`units` integer NOT NULL,\n\t`unit` text NOT NULL,\n\t`epsilon` real NOT NULL,\n\t`delta` real NOT NULL,\n\tCONSTRAINT \"dataset_one_row\" CHECK(\"dataset\".\"one\" = 1),\n\tCONSTRAINT \"dataset_units\" CHECK(\"dataset\".\"units\" > 0),\n\tCONSTRAINT \"dataset_unit\" CHECK(\"dataset\".\"unit\" in ('record', 'user')),\n\tCONSTRAINT \"dataset_epsilon\" CHECK(\"dataset\".\"epsilon\" > 0),\n\tCONSTRAINT \"dataset_delta\" CHECK(\"dataset\".\"delta\" > 0 and \"dataset\".\"delta\" < 1)\n);\n--> statement-breakpoint\nCREATE TABLE `spend` (\n\t`event` text PRIMARY KEY NOT NULL,\n\t`count` integer NOT NULL,\n\tCONSTRAINT \"spend_count\" CHECK(\"spend\".\"count\" > 0)\n);\n",
    "m0001": "-- No charge is ever removed or changed, and no count is ever lowered.\nCREATE TRIGGER `charge_stays` BEFORE DELETE ON `charge` BEGIN SELECT RAISE(ABORT, 'a charge stays'); END;\n--> statement-breakpoint\nCREATE TRIGGER `charge_is_fixed` BEFORE UPDATE ON `charge` BEGIN SELECT RAISE(ABORT, 'a charge is fixed'); END;\n--> statement-breakpoint\nCREATE TRIGGER `spend_stays` BEFORE DELETE ON `spend` BEGIN SELECT RAISE(ABORT, 'spend stays'); END;\n--> statement-breakpoint\nCREATE TRIGGER `spend_grows` BEFORE UPDATE ON `spend` WHEN NEW.`count` <= OLD.`count` BEGIN SELECT RAISE(ABORT, 'spend grows'); END;\n",
    "m0002": "ALTER TABLE `dataset` ADD `countNoise` real;",
    "m0003": "CREATE TABLE `policy` (\n\t`one` integer PRIMARY KEY NOT NULL,\n\t`policy` text NOT NULL,\n\tCONSTRAINT \"policy_one_row\" CHECK(\"policy\".\"one\" = 1)\n);\n--> statement-breakpoint\nCREATE TABLE `reservation` (\n\t`run` text NOT NULL,\n\t`event` text NOT NULL,\n\t`left` integer NOT NULL,\n\tPRIMARY KEY(`run`, `event`),\n\tCONSTRAINT \"reservation_left\" CHECK(\"reservation\".\"left\" >= 0)\n);\n",
    "m0004": "CREATE TABLE `record` (\n\t`seq` integer PRIMARY KEY NOT NULL,\n\t`line` text NOT NULL,\n\tCONSTRAINT \"record_seq\" CHECK(\"record\".\"seq\" >= 0)\n);\n--> statement-breakpoint\nCREATE TABLE `segment` (\n\t`first` integer PRIMARY KEY NOT NULL,\n\t`records` integer NOT NULL,\n\t`stored` integer DEFAULT 0 NOT NULL,\n\tCONSTRAINT \"segment_records\" CHECK(\"segment\".\"records\" > 0),\n\tCONSTRAINT \"segment_stored\" CHECK(\"segment\".\"stored\" in (0, 1))\n);\n--> statement-breakpoint\nALTER TABLE `dataset` ADD `fault` text;\n--> statement-breakpoint\n-- No record is ever removed or changed.\nCREATE TRIGGER `record_stays` BEFORE DELETE ON `record` BEGIN SELECT RAISE(ABORT, 'a record stays'); END;\n--> statement-breakpoint\nCREATE TRIGGER `record_is_fixed` BEFORE UPDATE ON `record` BEGIN SELECT RAISE(ABORT, 'a record is fixed'); END;\n--> statement-breakpoint\nCREATE TRIGGER `segment_stays` BEFORE DELETE ON `segment` BEGIN SELECT RAISE(ABORT, 'a segment stays'); END;\n"
  }
}
