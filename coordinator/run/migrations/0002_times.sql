ALTER TABLE `hold` ADD `taken` integer;--> statement-breakpoint
ALTER TABLE `report` ADD `taken` integer;--> statement-breakpoint
ALTER TABLE `report` ADD `received` integer;