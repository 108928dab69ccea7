// Written by coordinator/storage/generate.ts.
import type { Migrations } from '../storage/index.ts'

export const migrations: Migrations = {
  "journal": {
    "entries": [
      {
        "idx": 0,
        "when": 1795473916885,
        "tag": "0000_initial",
        "breakpoints": true
      },
      {
        "idx": 1,
        "when": 1795726213448,
        "tag": "0001_paused",
        "breakpoints": true
      },
      {
        "idx": 2,
        "when": 1795726345344,
        "tag": "0002_scopes",
        "breakpoints": true
      }
    ]
  },
  "migrations": {
    "m0000": "CREATE TABLE `dataset` (\n\t`id` text PRIMARY KEY NOT NULL\n);\n--> statement-breakpoint\nCREATE TABLE `model` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`manifest` text NOT NULL,\n\tCONSTRAINT \"model_id\" CHECK(length(\"model\".\"id\") = 64)\n);\n--> statement-breakpoint\nCREATE TABLE `request` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`bodyHash` text NOT NULL,\n\t`draft` text NOT NULL,\n\t`answer` text,\n\tCONSTRAINT \"request_hash\" CHECK(length(\"request\".\"bodyHash\") = 64)\n);\n--> statement-breakpoint\nCREATE TABLE `run` (\n\t`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,\n\t`id` text NOT NULL,\n\t`state` text NOT NULL,\n\t`model` text NOT NULL,\n\t`created` integer NOT NULL,\n\tCONSTRAINT \"run_state_word\" CHECK(\"run\".\"state\" in ('draft', 'running', 'completed', 'cancelled', 'budget_exhausted', 'failed'))\n);\n--> statement-breakpoint\nCREATE UNIQUE INDEX `run_id_unique` ON `run` (`id`);--> statement-breakpoint\nCREATE INDEX `run_state` ON `run` (`state`);--> statement-breakpoint\nCREATE TABLE `run_dataset` (\n\t`run` text NOT NULL,\n\t`dataset` text NOT NULL,\n\tPRIMARY KEY(`run`, `dataset`)\n);\n--> statement-breakpoint\nCREATE INDEX `run_dataset_dataset` ON `run_dataset` (`dataset`);--> statement-breakpoint\nCREATE TABLE `token` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`hash` text NOT NULL,\n\t`scope` text NOT NULL,\n\t`worker` text,\n\t`revoked` integer DEFAULT false NOT NULL,\n\tFOREIGN KEY (`worker`) REFERENCES `worker`(`id`) ON UPDATE no action ON DELETE no action,\n\tCONSTRAINT \"token_scope\" CHECK(\"token\".\"scope\" in ('admin', 'auditor', 'worker')),\n\tCONSTRAINT \"token_worker\" CHECK((\"token\".\"scope\" = 'worker') = (\"token\".\"worker\" is not null)),\n\tCONSTRAINT \"token_hash\" CHECK(length(\"token\".\"hash\") = 64)\n);\n--> statement-breakpoint\nCREATE UNIQUE INDEX `token_hash_unique` ON `token` (`hash`);--> statement-breakpoint\nCREATE TABLE `worker` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`dataset` text NOT NULL,\n\t`publicKey` text,\n\t`lastSeen` integer,\n\t`revoked` integer DEFAULT false NOT NULL\n);\n",
    "m0001": "ALTER TABLE `run` ADD `paused` integer DEFAULT false NOT NULL;",
    "m0002": "-- Nothing refers to a token, so that its table may be made anew where foreign keys are watched.\nCREATE TABLE `__new_token` (\n\t`id` text PRIMARY KEY NOT NULL,\n\t`hash` text NOT NULL,\n\t`scope` text NOT NULL,\n\t`worker` text,\n\t`revoked` integer DEFAULT false NOT NULL,\n\t`expires` integer,\n\tFOREIGN KEY (`worker`) REFERENCES `worker`(`id`) ON UPDATE no action ON DELETE no action,\n\tCONSTRAINT \"token_scope\" CHECK(\"__new_token\".\"scope\" in ('admin', 'operator', 'auditor', 'worker')),\n\tCONSTRAINT \"token_worker\" CHECK((\"__new_token\".\"scope\" = 'worker') = (\"__new_token\".\"worker\" is not null)),\n\tCONSTRAINT \"token_hash\" CHECK(length(\"__new_token\".\"hash\") = 64)\n);\n--> statement-breakpoint\nINSERT INTO `__new_token`(\"id\", \"hash\", \"scope\", \"worker\", \"revoked\", \"expires\") SELECT \"id\", \"hash\", \"scope\", \"worker\", \"revoked\", NULL FROM `token`;--> statement-breakpoint\nDROP TABLE `token`;--> statement-breakpoint\nALTER TABLE `__new_token` RENAME TO `token`;--> statement-breakpoint\nCREATE UNIQUE INDEX `token_hash_unique` ON `token` (`hash`);"
  }
}
