-- Labels of what administrators describe, as key=value with commas between, in the order of their keys.

ALTER TABLE llms ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE subjects ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN labels TEXT NOT NULL DEFAULT '';
