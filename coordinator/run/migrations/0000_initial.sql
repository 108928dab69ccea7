CREATE TABLE `checkpoint` (
	`rounds` integer PRIMARY KEY NOT NULL,
	`size` integer NOT NULL,
	`sha256` text NOT NULL,
	CONSTRAINT "checkpoint_hash" CHECK(length("checkpoint"."sha256") = 64)
);
--> statement-breakpoint
CREATE TABLE `hold` (
	`lease` text PRIMARY KEY NOT NULL,
	`worker` text NOT NULL,
	`expires` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `report` (
	`lease` text PRIMARY KEY NOT NULL,
	`round` integer NOT NULL,
	`dataset` text NOT NULL,
	`worker` text NOT NULL,
	`bodyHash` text NOT NULL,
	`integers` text NOT NULL,
	`signature` text NOT NULL,
	`bytes` integer NOT NULL,
	CONSTRAINT "report_hash" CHECK(length("report"."bodyHash") = 64),
	CONSTRAINT "report_bytes" CHECK("report"."bytes" > 0)
);
--> statement-breakpoint
CREATE INDEX `report_round` ON `report` (`round`);--> statement-breakpoint
CREATE TABLE `run` (
	`one` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`fault` text,
	`reason` text,
	CONSTRAINT "run_one_row" CHECK("run"."one" = 1)
);
--> statement-breakpoint
CREATE TABLE `segment` (
	`first` integer PRIMARY KEY NOT NULL,
	`text` text NOT NULL,
	`stored` integer DEFAULT 0 NOT NULL,
	CONSTRAINT "segment_first" CHECK("segment"."first" >= 0),
	CONSTRAINT "segment_stored" CHECK("segment"."stored" in (0, 1))
);
