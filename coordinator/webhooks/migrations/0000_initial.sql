CREATE TABLE `delivery` (
	`endpoint` integer NOT NULL,
	`message` integer NOT NULL,
	`state` text NOT NULL,
	`tries` integer DEFAULT 0 NOT NULL,
	`since` integer,
	`due` integer,
	`attempts` text DEFAULT '[]' NOT NULL,
	PRIMARY KEY(`endpoint`, `message`),
	FOREIGN KEY (`endpoint`) REFERENCES `endpoint`(`number`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`message`) REFERENCES `message`(`number`) ON UPDATE no action ON DELETE cascade,
	CONSTRAINT "delivery_state" CHECK("delivery"."state" in ('pending', 'delivered', 'failed')),
	CONSTRAINT "delivery_due" CHECK(("delivery"."state" = 'pending') = ("delivery"."due" is not null))
);
--> statement-breakpoint
CREATE INDEX `delivery_due` ON `delivery` (`endpoint`,`state`,`due`);--> statement-breakpoint
CREATE TABLE `endpoint` (
	`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`url` text NOT NULL,
	`events` text NOT NULL,
	`secret` text NOT NULL,
	`formerSecret` text,
	`formerUntil` integer,
	`created` integer NOT NULL,
	`disabled` integer DEFAULT false NOT NULL,
	`lastTaken` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `endpoint_id_unique` ON `endpoint` (`id`);--> statement-breakpoint
CREATE TABLE `message` (
	`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`run` text NOT NULL,
	`type` text NOT NULL,
	`body` text NOT NULL,
	`time` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `message_id_unique` ON `message` (`id`);--> statement-breakpoint
CREATE TABLE `position` (
	`run` text PRIMARY KEY NOT NULL,
	`next` integer NOT NULL,
	`ended` integer DEFAULT false NOT NULL
);
