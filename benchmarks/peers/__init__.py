"""The same tree on other systems, a file each: spawned until done, and stopped until nothing of it runs."""
