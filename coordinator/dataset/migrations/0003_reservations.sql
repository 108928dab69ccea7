CREATE TABLE `policy` (
	`one` integer PRIMARY KEY NOT NULL,
	`policy` text NOT NULL,
	CONSTRAINT "policy_one_row" CHECK("policy"."one" = 1)
);
--> statement-breakpoint
CREATE TABLE `reservation` (
	`run` text NOT NULL,
	`event` text NOT NULL,
	`left` integer NOT NULL,
	PRIMARY KEY(`run`, `event`),
	CONSTRAINT "reservation_left" CHECK("reservation"."left" >= 0)
);
