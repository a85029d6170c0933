//! What `mcpd check` says of the trail, to whoever can write the database.

use crate::cases::sql;
use fakes::Mcpd;

/// What it prints, and whether it is content.
fn check(mcpd: &Mcpd) -> (Option<i32>, String) {
    let output = mcpd.run(&["check"]);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Does what no statement of the program does, and finds it.
fn finds(statements: &[&'static str], flaw: &str) {
    let mut mcpd = Mcpd::start();
    for name in ["dana", "rob", "eve"] {
        mcpd.create_user(name);
    }
    mcpd.stop();
    for statement in statements {
        sql(&mcpd, statement);
    }
    let (code, told) = check(&mcpd);
    assert!(code == Some(3) && told.contains(&format!("BAD audit trail: {flaw}")), "{statements:?}: {told}");
}

#[test]
fn d12_check_says_where_a_sound_trail_ends_also_beside_a_server() {
    let mut mcpd = Mcpd::start();
    mcpd.create_user("dana");
    let head = super::sound_trail(&mcpd).pop().unwrap().head();
    let expected = format!("ok  audit trail, {} entries, head {head}\n", head.seq);
    let content = |mcpd: &Mcpd| {
        let (code, told) = check(mcpd);
        assert!(code == Some(0) && told.contains(&expected), "{told}");
    };
    content(&mcpd);
    mcpd.stop();
    content(&mcpd);
}

#[test]
fn d12_check_finds_what_was_done_to_the_trail_by_hand() {
    finds(&["DELETE FROM audit", "DELETE FROM audit_head"], "its head is gone");
    finds(&["DELETE FROM audit"], "the trail ends with entry 0, but entry");
    finds(&["DELETE FROM audit WHERE seq = 2"], "entry 2 is missing");
    finds(&["DELETE FROM audit WHERE seq > 2"], "the trail ends with entry 2, but entry");
    finds(&["UPDATE audit SET object = 'User/planted' WHERE seq = 2"], "entry 2 was changed");
    finds(&["UPDATE audit_head SET seq = 1"], "the trail goes on to entry");
    finds(&["UPDATE audit_head SET hash = 'another'"], "entry ");
}
