CREATE TABLE `dataset` (
	`id` text PRIMARY KEY NOT NULL
);
--> statement-breakpoint
CREATE TABLE `model` (
	`id` text PRIMARY KEY NOT NULL,
	`manifest` text NOT NULL,
	CONSTRAINT "model_id" CHECK(length("model"."id") = 64)
);
--> statement-breakpoint
CREATE TABLE `request` (
	`id` text PRIMARY KEY NOT NULL,
	`bodyHash` text NOT NULL,
	`draft` text NOT NULL,
	`answer` text,
	CONSTRAINT "request_hash" CHECK(length("request"."bodyHash") = 64)
);
--> statement-breakpoint
CREATE TABLE `run` (
	`number` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`state` text NOT NULL,
	`model` text NOT NULL,
	`created` integer NOT NULL,
	CONSTRAINT "run_state_word" CHECK("run"."state" in ('draft', 'running', 'completed', 'cancelled', 'budget_exhausted', 'failed'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `run_id_unique` ON `run` (`id`);--> statement-breakpoint
CREATE INDEX `run_state` ON `run` (`state`);--> statement-breakpoint
CREATE TABLE `run_dataset` (
	`run` text NOT NULL,
	`dataset` text NOT NULL,
	PRIMARY KEY(`run`, `dataset`)
);
--> statement-breakpoint
CREATE INDEX `run_dataset_dataset` ON `run_dataset` (`dataset`);--> statement-breakpoint
CREATE TABLE `token` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`scope` text NOT NULL,
	`worker` text,
	`revoked` integer DEFAULT false NOT NULL,
	FOREIGN KEY (`worker`) REFERENCES `worker`(`id`) ON UPDATE no action ON DELETE no action,
	CONSTRAINT "token_scope" CHECK("token"."scope" in ('admin', 'auditor', 'worker')),
	CONSTRAINT "token_worker" CHECK(("token"."scope" = 'worker') = ("token"."worker" is not null)),
	CONSTRAINT "token_hash" CHECK(length("token"."hash") = 64)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `token_hash_unique` ON `token` (`hash`);--> statement-breakpoint
CREATE TABLE `worker` (
	`id` text PRIMARY KEY NOT NULL,
	`dataset` text NOT NULL,
	`publicKey` text,
	`lastSeen` integer,
	`revoked` integer DEFAULT false NOT NULL
);
