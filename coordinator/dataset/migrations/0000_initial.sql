CREATE TABLE `charge` (
	`id` text PRIMARY KEY NOT NULL,
	`run` text NOT NULL,
	`event` text NOT NULL,
	`time` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `dataset` (
	`one` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`units` integer NOT NULL,
	`unit` text NOT NULL,
	`epsilon` real NOT NULL,
	`delta` real NOT NULL,
	CONSTRAINT "dataset_one_row" CHECK("dataset"."one" = 1),
	CONSTRAINT "dataset_units" CHECK("dataset"."units" > 0),
	CONSTRAINT "dataset_unit" CHECK("dataset"."unit" in ('record', 'user')),
	CONSTRAINT "dataset_epsilon" CHECK("dataset"."epsilon" > 0),
	CONSTRAINT "dataset_delta" CHECK("dataset"."delta" > 0 and "dataset"."delta" < 1)
);
--> statement-breakpoint
CREATE TABLE `spend` (
	`event` text PRIMARY KEY NOT NULL,
	`count` integer NOT NULL,
	CONSTRAINT "spend_count" CHECK("spend"."count" > 0)
);
