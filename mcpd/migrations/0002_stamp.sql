-- A number alone does not tell two histories apart: after a database has failed over, or was restored, the same epoch
-- can come again with other rights. The stamp is random and new in every transaction that moves the epoch.
ALTER TABLE authz ADD COLUMN stamp TEXT NOT NULL DEFAULT '';
