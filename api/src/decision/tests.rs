//! What survives the wire, and that nothing else is taken for it.

use super::*;
use proptest::prelude::*;

fn allow() -> Decision {
    Decision::Allow {
        llm: "chat-prod".parse().unwrap(),
        id: "c123456789012345678901234".parse().unwrap(),
        verbs: vec![Verb::View, Verb::Run],
        nonce: Some(Nonce::from_bytes([7; 16])),
    }
}

#[test]
fn a_decision_survives_the_wire() {
    for decision in
        [allow(), Decision::Deny { nonce: None }, Decision::Deny { nonce: Some(Nonce::from_bytes([0; 16])) }]
    {
        assert_eq!(decision.to_string().parse(), Ok(decision));
    }
}

#[test]
fn anything_but_the_exact_grammar_is_malformed() {
    let good = allow().to_string();
    let odd = [
        String::new(),
        "allow".into(),
        "ALLOW".into(),
        "yes".into(),
        good.replace("allow", "Allow"),
        good.replace("; id=", "; ID="),
        good.clone() + "; nonce=07070707070707070707070707070707",
        good.clone() + "; scope=all",
        good.clone() + ", deny",
        good.replace("run", "fly"),
        good.replace("chat-prod", "Chat"),
        good.replace("nonce=0", "nonce=G"),
    ];
    for value in odd {
        assert_eq!(value.parse::<Decision>(), Err(Malformed), "{value:?}");
    }
}

#[test]
fn a_nonce_is_16_to_64_lower_case_hexadecimal_digits() {
    assert_eq!(Nonce::from_bytes([0xa7; 16]).to_string(), "a7".repeat(16));
    for good in ["0".repeat(16), "f".repeat(64), "0123456789abcdef".into()] {
        assert_eq!(good.parse::<Nonce>().unwrap().to_string(), good);
    }
    for odd in [String::new(), "0".repeat(15), "f".repeat(65), "0123456789abcdeF".into(), "g".repeat(20)] {
        assert_eq!(odd.parse::<Nonce>(), Err(Malformed), "{odd:?}");
    }
    assert_eq!(Malformed.to_string(), "malformed header value");
}

#[test]
fn a_probe_survives_the_wire_and_nothing_else_is_one() {
    let probe = ProbeRequest { nonce: Nonce::from_bytes([7; 16]) };
    let good = probe.to_string();
    assert_eq!(good, format!("run; nonce={}", "07".repeat(16)));
    assert_eq!(good.parse(), Ok(probe));
    let odd = [
        String::new(),
        "run".into(),
        "run; nonce=".into(),
        good.replace("run", "view"),
        good.replace("07", "7G"),
        good.clone() + "; llm=x",
        good.clone() + "; nonce=0707070707070707",
    ];
    for value in odd {
        assert_eq!(value.parse::<ProbeRequest>(), Err(Malformed), "{value:?}");
    }
}

#[test]
fn a_policy_is_one_of_two_words() {
    for (policy, word) in [(FailoverPolicy::Allowed, "allowed"), (FailoverPolicy::Forbidden, "forbidden")] {
        assert_eq!((policy.to_string().as_str(), word.parse()), (word, Ok(policy)));
    }
    for odd in ["", "Allowed", "allowed ", "maybe", "allowed, forbidden"] {
        assert_eq!(odd.parse::<FailoverPolicy>(), Err(Malformed), "{odd:?}");
    }
}

#[test]
fn a_decision_without_verbs_grants_none() {
    let Decision::Allow { llm, id, nonce, .. } = allow() else { panic!("not allowed") };
    let bare = Decision::Allow { llm, id, verbs: Vec::new(), nonce };
    assert_eq!(bare.to_string().parse(), Ok(bare));
    let without = allow().to_string().replace("; verbs=view,run", "");
    assert_eq!(without.parse::<Decision>(), Err(Malformed));
}

#[test]
fn a_value_is_bounded_and_printable() {
    let padded = |len: usize| format!("{:len$}", "deny");
    assert_eq!(padded(VALUE_MAX).parse(), Ok(Decision::Deny { nonce: None }));
    assert_eq!(padded(VALUE_MAX - 1).parse(), Ok(Decision::Deny { nonce: None }));
    for long in [VALUE_MAX + 1, VALUE_MAX + 2, 10 * VALUE_MAX] {
        assert_eq!(padded(long).parse::<Decision>(), Err(Malformed), "{long}");
    }
    for odd in ["deny\t", "deny\n", "\u{a0}deny", "deny\u{7f}"] {
        assert_eq!(odd.parse::<Decision>(), Err(Malformed), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}|allow(; ?(llm|id|verbs|nonce)=[a-z0-9,]{0,26}){0,5}") {
        let _ = text.parse::<Decision>();
        let _ = text.parse::<ProbeRequest>();
    }
}
