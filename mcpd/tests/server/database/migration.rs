//! The schema comes to its newest version whole, whatever happens on the way, and whoever else brings it there.

use crate::cases::is_full_run;
use fakes::{Mcpd, Postgres, WireProxy, required};
use std::{process::Output, thread};

/// Everything about the schema but the times at which it was made.
const SCHEMA: &str = "
    SELECT table_name, column_name, data_type, is_nullable, column_default
      FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2;
    SELECT conrelid::regclass, conname, pg_get_constraintdef(oid)
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1::text, 2;
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
    SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1;
    SELECT version, description, success, checksum FROM _sqlx_migrations ORDER BY 1;
    SELECT one, epoch FROM authz;";

fn migrate(url: &str) -> Output {
    Mcpd::builder().on_url(url).run(&["migrate"])
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An empty database in place of what is there.
fn empty(postgres: &Postgres) {
    postgres.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION mcpd");
}

#[test]
fn d06_a_migration_that_is_cut_anywhere_is_finished_by_the_next_one() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    let wire = WireProxy::before(postgres.addr());
    let through_wire = postgres.url_at(wire.addr(), "mcpd");
    empty(&postgres);
    let before = wire.messages();
    succeed(&migrate(&through_wire));
    let messages = wire.messages() - before;
    let clean = postgres.psql(SCHEMA);

    let step = if is_full_run() { 1 } else { 7 };
    let mut cut = 0;
    for (at, loses_answer) in (1..=messages).step_by(step).flat_map(|at| [(at, false), (at, true)]) {
        empty(&postgres);
        if loses_answer {
            wire.cut_before_answer_to(at);
        } else {
            wire.cut_before_message(at);
        }
        let first = migrate(&through_wire);
        wire.pass();
        cut += u32::from(!first.status.success());
        succeed(&migrate(&postgres.url()));
        assert_eq!(postgres.psql(SCHEMA), clean, "cut at {at}, answer lost: {loses_answer}");
    }
    println!("{messages} messages; {cut} migrations failed, and were finished by the next one");
    assert!(cut > 0, "nothing was cut");
}

#[test]
fn d06_several_migrations_at_once_make_one_schema() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    empty(&postgres);
    succeed(&migrate(&postgres.url()));
    let clean = postgres.psql(SCHEMA);
    for _ in 0..5 {
        empty(&postgres);
        thread::scope(|scope| {
            let migrations: Vec<_> = (0..4).map(|_| scope.spawn(|| migrate(&postgres.url()))).collect();
            for migration in migrations {
                succeed(&migration.join().unwrap());
            }
        });
        assert_eq!(postgres.psql(SCHEMA), clean);
    }
}

#[test]
fn d06_a_role_that_may_not_change_the_schema_can_serve_it() {
    let Some(postgres) = Postgres::start() else { return required("PostgreSQL") };
    drop(Mcpd::builder().on(&postgres).start());
    postgres.psql(
        "REASSIGN OWNED BY mcpd TO postgres; REVOKE CREATE ON SCHEMA public FROM mcpd;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO mcpd",
    );
    succeed(&Mcpd::builder().on(&postgres).run(&["bootstrap", "--admin", "ana", "--recover"]));
}
