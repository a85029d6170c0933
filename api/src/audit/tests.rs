//! What the chain finds, and that no two entries are hashed alike.

use super::*;
use proptest::prelude::*;

fn entry(seq: u64, prev: &str, llm: &str) -> AuditEntry {
    let mut entry = AuditEntry {
        seq,
        at: "2026-01-02T03:04:05.678Z".into(),
        event: "inference".into(),
        subject: Some(AuditSubject { kind: "User".into(), name: "dana@example.com".into() }),
        token_id: Some("0123456789abcdef".into()),
        verb: Some("run".into()),
        object: None,
        llm: Some(llm.into()),
        llm_id: None,
        verdict: Some("allowed".into()),
        binding: Some("data-team".into()),
        request_id: Some("r-1".into()),
        detail: None,
        prev: prev.into(),
        hash: String::new(),
    };
    entry.hash = entry.computed();
    entry
}

fn trail(len: u64) -> Vec<AuditEntry> {
    let mut prev = GENESIS.to_owned();
    let link = |seq| {
        let entry = entry(seq, &prev, "chat");
        prev.clone_from(&entry.hash);
        entry
    };
    (1..=len).map(link).collect()
}

fn flaws(trail: &[AuditEntry]) -> Vec<Flaw> {
    let mut chain = Chain::whole();
    trail.iter().flat_map(|entry| chain.take(entry)).collect()
}

/// Whoever checks an exported trail by other means computes this. It must never change.
#[test]
fn the_hash_of_an_entry_is_fixed() {
    let mut entry = entry(7, GENESIS, "chat");
    entry.detail = Some(RawValue::from_string(r#"{"ä":1}"#.into()).unwrap());
    let text = format!(
        "mcpd-audit-1\nprev:64:{GENESIS}\nseq:1:7\nat:24:2026-01-02T03:04:05.678Z\nevent:9:inference\n\
         subject.kind:4:User\nsubject.name:16:dana@example.com\ntokenId:16:0123456789abcdef\nverb:3:run\n\
         llm:4:chat\nverdict:7:allowed\nbinding:9:data-team\nrequestId:3:r-1\ndetail:8:{{\"ä\":1}}\n"
    );
    let expected: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entry.computed(), expected);
}

#[test]
fn d12_a_sound_trail_has_no_flaw_and_survives_the_wire() {
    let trail = trail(5);
    assert_eq!(flaws(&trail), []);
    let text: Vec<String> = trail.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    let read: Vec<AuditEntry> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(flaws(&read), []);
    let mut part = Chain::part();
    assert!(trail[2..].iter().all(|entry| part.take(entry).is_empty()));
    assert_eq!(part.head(), Some(&trail[4].head()));
}

#[test]
fn d12_an_entry_that_was_edited_removed_swapped_or_replaced_is_named() {
    let mut edited = trail(5);
    edited[2].llm = Some("other".into());
    assert_eq!(flaws(&edited), [Flaw::Changed { seq: 3 }]);

    let mut rehashed = edited;
    rehashed[2].hash = rehashed[2].computed();
    assert_eq!(flaws(&rehashed), [Flaw::Unlinked { seq: 4 }]);

    let mut removed = trail(5);
    removed.remove(2);
    assert_eq!(flaws(&removed), [Flaw::Missing { from: 3, to: 3 }]);

    let mut swapped = trail(5);
    swapped.swap(1, 2);
    assert!(flaws(&swapped).contains(&Flaw::OutOfOrder { seq: 2, after: 3 }), "{:?}", flaws(&swapped));

    let mut renumbered = trail(5);
    renumbered[1].seq = 3;
    renumbered[2].seq = 2;
    renumbered.swap(1, 2);
    let found = flaws(&renumbered);
    assert!([2, 3].iter().all(|seq| found.contains(&Flaw::Changed { seq: *seq })), "{found:?}");

    let mut inserted = trail(5);
    inserted.insert(2, entry(3, &inserted[1].hash, "planted"));
    assert!(!flaws(&inserted).is_empty());
}

#[test]
fn a_head_is_written_as_it_is_read() {
    let head = AuditHead { seq: 17, hash: "ab".repeat(32) };
    assert_eq!(head.to_string().parse(), Ok(head.clone()));
    for wrong in ["", "17", "17:", ":17", "17:abc", &head.to_string().to_uppercase(), "-1:00"] {
        assert_eq!(wrong.parse::<AuditHead>(), Err(NoHead), "{wrong:?}");
    }
}

proptest! {
    /// Moving text from one field into its neighbour makes another entry.
    #[test]
    fn no_two_entries_are_hashed_alike(a in "[a-z:\n]{0,8}", b in "[a-z:\n]{0,8}", c in "[a-z:\n]{0,8}", d in "[a-z:\n]{0,8}") {
        let with = |llm: &str, binding: &str| {
            let mut entry = entry(1, GENESIS, llm);
            entry.binding = Some(binding.to_owned());
            entry.computed()
        };
        prop_assert_eq!(with(&a, &b) == with(&c, &d), (&a, &b) == (&c, &d));
    }
}
