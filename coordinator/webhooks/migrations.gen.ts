// Written by coordinator/storage/generate.ts.
import type { Migrations } from '../storage/index.ts'

export const migrations: Migrations = {
  "journal": {
    "entries": [
      {
        "idx": 0,
        "when": 1795732655067,
        "tag": "0000_initial",
        "breakpoints": true
      }
    ]
  },
  "migrations": {
    "m0000": "CREATE TABLE `delivery` (\n\t`endpoint` integer NOT NULL,\n\t`message` integer NOT NULL,\n\t`state` text NOT NULL,\n\t`tries` integer DEFAULT 0 NOT NULL,\n\t`since` integer,\n\t`due` integer,\n\t`attempts` text DEFAULT '[]' NOT NULL,\n\tPRIMARY KEY(`endpoint`, `message`),\n\tFOREIGN KEY (`endpoint`) REFERENCES `endpoint`(`number`) ON UPDATE no action ON DELETE cascade,\n\tFOREIGN KEY (`message`) REFERENCES `message`(`number`) ON UPDATE no action ON DELETE cascade,\n\tCONSTRAINT \"delivery_state\" CHECK(\"delivery\".\"state\" in ('pending', 'delivered', 'failed')),\n\tCONSTRAINT \"delivery_due\" CHECK((\"delivery\".\"state\" = 'pending') = (\"delivery\".\"due\" is not null))\n);\n--> statement-breakpoint\nCREATE INDEX `delivery_due` ON `delivery` (`endpoint`,`state`,`due`);--> statement-breakpoint\nCREATE TABLE `endpoint` (\n\t`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,\n\t`id` text NOT NULL,\n\t`url` text NOT NULL,\n\t`events` text NOT NULL,\n\t`secret` text NOT NULL,\n\t`formerSecret` text,\n\t`formerUntil` integer,\n\t`created` integer NOT NULL,\n\t`disabled` integer DEFAULT false NOT NULL,\n\t`lastTaken` integer\n);\n--> statement-breakpoint\nCREATE UNIQUE INDEX `endpoint_id_unique` ON `endpoint` (`id`);--> statement-breakpoint\nCREATE TABLE `message` (\n\t`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,\n\t`id` text NOT NULL,\n\t`run` text NOT NULL,\n\t`type` text NOT NULL,\n\t`body` text NOT NULL,\n\t`time` integer NOT NULL\n);\n--> statement-breakpoint\nCREATE UNIQUE INDEX `message_id_unique` ON `message` (`id`);--> statement-breakpoint\nCREATE TABLE `position` (\n\t`run` text PRIMARY KEY NOT NULL,\n\t`next` integer NOT NULL,\n\t`ended` integer DEFAULT false NOT NULL\n);\n"
  }
}
