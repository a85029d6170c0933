-- What the server knows: LLMs, subjects, role bindings and tokens.
-- One text for every database: TEXT and BIGINT only. Times are milliseconds since 1970, UTC. Yes is 1, no is 0.

-- One row. The epoch moves in every transaction that writes any of the tables below.
CREATE TABLE authz (
    one   BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL
);
INSERT INTO authz (one, epoch) VALUES (1, 0);

CREATE TABLE llms (
    id             TEXT   NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL UNIQUE,
    display_name   TEXT,
    kind           TEXT   NOT NULL,
    url            TEXT   NOT NULL,
    model          TEXT   NOT NULL,
    -- Where the upstream's key is read from. The key itself has no column.
    key_env        TEXT,
    key_file       TEXT,
    enabled        BIGINT NOT NULL CHECK (enabled IN (0, 1)),
    failover       TEXT   NOT NULL,
    context_length BIGINT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    CHECK (key_env IS NULL OR key_file IS NULL)
);

CREATE TABLE subjects (
    kind       TEXT   NOT NULL CHECK (kind IN ('User', 'Group', 'ServiceAccount')),
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE members (
    -- Always 'Group': a foreign key over two columns needs both of them.
    group_kind  TEXT NOT NULL CHECK (group_kind = 'Group'),
    group_name  TEXT NOT NULL,
    member_kind TEXT NOT NULL CHECK (member_kind IN ('User', 'ServiceAccount')),
    member_name TEXT NOT NULL,
    PRIMARY KEY (group_name, member_kind, member_name),
    FOREIGN KEY (group_kind, group_name) REFERENCES subjects (kind, name) ON DELETE CASCADE,
    FOREIGN KEY (member_kind, member_name) REFERENCES subjects (kind, name) ON DELETE CASCADE
);

CREATE TABLE tokens (
    id           TEXT   NOT NULL PRIMARY KEY,
    -- SHA-256 of the secret part, in hexadecimal digits.
    hash         TEXT   NOT NULL,
    subject_kind TEXT   NOT NULL CHECK (subject_kind IN ('User', 'ServiceAccount')),
    subject_name TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    FOREIGN KEY (subject_kind, subject_name) REFERENCES subjects (kind, name) ON DELETE CASCADE
);

CREATE TABLE bindings (
    name       TEXT   NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- A subject or a resource that a binding names need not exist (yet).
CREATE TABLE binding_subjects (
    binding  TEXT   NOT NULL REFERENCES bindings (name) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    kind     TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    PRIMARY KEY (binding, position)
);

CREATE TABLE binding_roles (
    binding       TEXT   NOT NULL REFERENCES bindings (name) ON DELETE CASCADE,
    position      BIGINT NOT NULL,
    role          TEXT   NOT NULL,
    resource      TEXT   NOT NULL,
    resource_name TEXT,
    PRIMARY KEY (binding, position)
);
