//! What is a name, what is an id, and that nothing is both.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn i01_no_text_is_both_a_name_and_an_id(text in "[a-z0-9._-]{0,64}|c[a-z0-9]{24}|\\PC{0,30}") {
        prop_assert!(text.parse::<LlmName>().is_err() || text.parse::<LlmId>().is_err());
    }

    #[test]
    fn i01_a_key_keeps_its_text(text in "[a-z0-9][a-z0-9_-]{0,62}") {
        prop_assert_eq!(text.parse::<LlmKey>().unwrap().to_string(), text);
    }
}

#[test]
fn i02_confusable_and_odd_names_are_refused() {
    let odd = [
        "",
        "-x",
        ".x",
        "_x",
        "a..b",
        "A",
        "Chat",
        "chаt",
        "chat\u{200b}",
        "\u{202e}tahc",
        "e\u{301}",
        "ﬀ",
        "a b",
        "a/b",
        "a\\b",
        "a%2fb",
        "a;b",
        "a\0b",
        "a\nb",
        "qwen3\u{ff0d}8b",
        "ı",
        "chat:latest",
    ];
    for name in odd {
        assert!(name.parse::<LlmName>().is_err(), "{name:?} was taken for a name");
    }
    assert!("a".repeat(64).parse::<LlmName>().is_err());
    assert!("a".repeat(63).parse::<LlmName>().is_ok());
    assert!("qwen3-8b".parse::<LlmName>().is_ok() && "gpt-5.mini_x".parse::<LlmName>().is_ok());
}

#[test]
fn i01_an_id_has_one_shape() {
    let id = format!("c{}", "a1".repeat(12));
    assert_eq!(id.parse::<LlmId>().unwrap().as_str(), id);
    let key: LlmKey = id.parse().unwrap();
    assert_eq!((key.as_str(), key.to_string()), (id.as_str(), id.clone()));
    for odd in [
        String::new(),
        "c".into(),
        "c".repeat(24),
        "c".repeat(26),
        id.replacen('c', "d", 1),
        id.replacen('1', "A", 1),
        id.replacen('1', "-", 1),
    ] {
        assert_eq!(odd.parse::<LlmId>(), Err(NameError::NotAnId), "{odd:?}");
        assert!(!is_id_shaped(&odd), "{odd:?}");
    }
    assert!(matches!("c".repeat(24).parse(), Ok(LlmKey::Name(_))));
}

#[test]
fn i02_what_is_wrong_with_a_name_is_said() {
    for (name, wrong, words) in [
        ("", NameError::Empty, "a name must not be empty"),
        (&"a".repeat(64), NameError::TooLong(NAME_MAX), "a name has at most 63 characters"),
        (&"a".repeat(65), NameError::TooLong(NAME_MAX), "a name has at most 63 characters"),
        ("-x", NameError::Start('-'), "a name starts with a lower-case letter or a digit, not '-'"),
        (
            "a b",
            NameError::Char(' '),
            "a name has lower-case letters, digits, '.', '_' and '-' only, not ' '",
        ),
        ("a..b", NameError::DotDot, "a name must not contain '..'"),
        (&"c".repeat(25), NameError::LooksLikeId, "this name has the shape of an id; choose another one"),
    ] {
        assert_eq!(name.parse::<LlmName>().unwrap_err(), wrong, "{name:?}");
        assert_eq!(wrong.to_string(), words);
    }
    assert_eq!(NameError::NotAnId.to_string(), "an id is 'c' and 24 lower-case letters or digits");
    let name: LlmKey = "a.b_c-1".parse().unwrap();
    assert_eq!((name.as_str(), format!("{name:>9}")), ("a.b_c-1", "  a.b_c-1".into()));
}

#[test]
fn i02_a_subject_has_a_grammar_of_its_own() {
    for good in ["dana@example.com", "A", "9", "a.b_c@d+e-f", &"x".repeat(SUBJECT_MAX)] {
        assert_eq!(good.parse::<SubjectName>().unwrap().as_str(), good);
    }
    for (odd, wrong) in [
        ("", NameError::Empty),
        ("@x", NameError::Start('@')),
        ("ä", NameError::Start('ä')),
        ("a b", NameError::Char(' ')),
        ("a/b", NameError::Char('/')),
        ("d\u{430}na", NameError::Char('\u{430}')),
        ("a..b", NameError::DotDot),
        (&"x".repeat(SUBJECT_MAX + 1), NameError::TooLong(SUBJECT_MAX)),
        (&"x".repeat(SUBJECT_MAX + 2), NameError::TooLong(SUBJECT_MAX)),
    ] {
        assert_eq!(odd.parse::<SubjectName>(), Err(wrong), "{odd:?}");
    }
}

#[test]
fn i01_an_id_shaped_name_is_refused() {
    let id = format!("c{}", "a1".repeat(12));
    assert_eq!(id.parse::<LlmName>(), Err(NameError::LooksLikeId));
    assert!(matches!(id.parse::<LlmKey>(), Ok(LlmKey::Id(_))));
}
