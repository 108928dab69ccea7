-- Nothing refers to a token, so that its table may be made anew where foreign keys are watched.
CREATE TABLE `__new_token` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`scope` text NOT NULL,
	`worker` text,
	`revoked` integer DEFAULT false NOT NULL,
	`expires` integer,
	FOREIGN KEY (`worker`) REFERENCES `worker`(`id`) ON UPDATE no action ON DELETE no action,
	CONSTRAINT "token_scope" CHECK("__new_token"."scope" in ('admin', 'operator', 'auditor', 'worker')),
	CONSTRAINT "token_worker" CHECK(("__new_token"."scope" = 'worker') = ("__new_token"."worker" is not null)),
	CONSTRAINT "token_hash" CHECK(length("__new_token"."hash") = 64)
);
--> statement-breakpoint
INSERT INTO `__new_token`("id", "hash", "scope", "worker", "revoked", "expires") SELECT "id", "hash", "scope", "worker", "revoked", NULL FROM `token`;--> statement-breakpoint
DROP TABLE `token`;--> statement-breakpoint
ALTER TABLE `__new_token` RENAME TO `token`;--> statement-breakpoint
CREATE UNIQUE INDEX `token_hash_unique` ON `token` (`hash`);