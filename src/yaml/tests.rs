//! What is refused, and where errors point.

use super::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "only its shape matters here")]
    items: Vec<std::collections::BTreeMap<String, u16>>,
}

fn problem(text: &str) -> Problem {
    from_str::<File>(text).expect_err(text).remove(0)
}

fn at(line: usize, column: usize) -> (usize, usize) {
    (line, column)
}

#[test]
fn c01_an_alias_bomb_is_refused_at_its_first_anchor() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..40 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
    }
    assert_eq!(problem(&bomb).place.line, 1);
}

#[test]
fn c02_duplicate_keys_second_documents_and_unknown_keys_have_a_place() {
    let p = problem("items:\n  - a: 1\n    b: 2\n    a: 3\n");
    assert_eq!((at(p.place.line, p.place.column), p.message.as_str()), (at(4, 5), "duplicate key `a`"));
    let p = problem("items: []\n---\nitems: []\n");
    assert_eq!(p.place.line, 2);
    let p = problem("items: []\nitmes: []\n");
    assert_eq!((p.place.line, p.label.as_str()), (2, "did you mean `items`?"));
}

#[test]
fn c03_deep_nesting_tabs_and_merge_keys_are_errors_with_a_place() {
    let nested = |n| format!("items: {}{}", "[".repeat(n), "]".repeat(n));
    assert!(problem(&nested(40)).message.contains("nesting"));
    assert_eq!(problem(&nested(100_000)).place.line, 1);
    assert_eq!(problem("items:\n\t- a: 1\n").place.line, 2);
    assert_eq!(problem("items:\n  - &x {a: 1}\n  - <<: *x\n").place.line, 2);
}

#[test]
fn c03_many_long_keys_are_refused_before_they_take_the_memory() {
    let mut text = String::new();
    for depth in 0..28 {
        text += &format!("{}{}:\n", " ".repeat(depth), "k".repeat(1000));
    }
    assert!(problem(&text).message.contains("128 characters"));
    let deep: String = (0..28).map(|depth| format!("{}{}:\n", " ".repeat(depth), "k".repeat(120))).collect();
    let deep = format!("{deep}{}[{}]\n", " ".repeat(28), "1,".repeat(30_000));
    assert!(problem(&deep).message.contains("long keys"), "{}", problem(&deep));
    let many: String = (0..160_000).map(|i| format!("k{i}: 1\n")).collect();
    assert!(problem(&many).message.contains("more than"), "{}", problem(&many));
}

#[test]
fn k03_neither_line_of_a_snippet_shows_what_could_be_a_secret() {
    for text in [
        "env:\n  HF_PAT: ghp_canary1\n  A: [\n",
        "x:\n  - sk-canary1\n  - {\n",
        "url: http://u:canary1@h\nt: {\n",
    ] {
        let shown = show::render(&problem(text), "f", text, false);
        assert!(!shown.contains("canary1"), "{shown}");
    }
}

#[test]
fn a_wrong_type_is_reported_without_the_value() {
    let p = problem("items:\n  - a: sk-verysecret\n");
    assert_eq!(at(p.place.line, p.place.column), at(2, 8));
    assert!(!p.message.contains("verysecret"), "{}", p.message);
    let shown = show::render(&p, "providers.yaml", "items:\n  - a: sk-verysecret\n", false);
    assert!(shown.contains("providers.yaml:2:8") && !shown.contains("verysecret"), "{shown}");
}

#[test]
fn documents_are_split_where_they_start() {
    let text = "# head\n---\nkind: A\n---\n# nothing\n--- \nkind: B\n";
    let found: Vec<_> = documents(text).into_iter().map(|(line, d)| (line, d.trim())).collect();
    assert_eq!(found, [(1, "kind: A"), (5, "kind: B")]);
}

#[test]
fn paths_lead_to_places() {
    let places = look("providers:\n  - name: a\n    failoverFor: [x, y]\n").unwrap();
    assert_eq!(places.key("providers[0].failoverFor"), Place { line: 3, column: 5, width: 11 });
    assert_eq!(places.value("providers[0].failoverFor[1]"), Place { line: 3, column: 22, width: 1 });
}

/// The parser behind this one ends a line there, and comments too; this one does not.
#[test]
fn c03_a_line_break_that_only_some_know_is_refused_where_it_stands() {
    for odd in ['\u{85}', '\u{2028}', '\u{2029}'] {
        for text in [format!("x: y\n# a{odd}providers: []\n"), format!("x: y\nb: 'c{odd}d'\n")] {
            let [problem] = &from_str::<serde_json::Value>(&text).err().unwrap()[..] else {
                panic!("{text:?}")
            };
            assert!(problem.to_string().starts_with("2:") && problem.message.contains("line"), "{problem}");
        }
        for value in
            [format!("b{odd}c\n {odd}"), format!(": -# b{odd}  {}", "long ".repeat(30)), format!("b{odd}")]
        {
            let value = serde_json::json!({ "a": value });
            let written = to_string(&value);
            let (read, _) = from_str::<serde_json::Value>(&written).unwrap();
            assert_eq!(read, value, "{written:?}");
        }
    }
}

/// The parser behind this one sees a key without a value there.
#[test]
fn c03_a_mark_that_only_some_take_for_a_keys_is_refused_where_it_stands() {
    for text in ["a: [b, ?c]\n", "a: {?c: d}\n"] {
        let [problem] = &from_str::<serde_json::Value>(text).err().unwrap()[..] else { panic!("{text:?}") };
        assert!(problem.to_string().starts_with("1:") && problem.label.contains("quotes"), "{problem}");
    }
    assert!(from_str::<serde_json::Value>("a: ['?c', c?, \"?\"]\n").is_ok());
    for word in ["?4", "?", "? b"] {
        let value = serde_json::json!({ "a": word, "b": [word] });
        let written = to_string(&value);
        let (read, _) = from_str::<serde_json::Value>(&written).unwrap();
        assert_eq!(read, value, "{written:?}");
    }
}

#[test]
fn lines_end_as_those_of_yaml_do() {
    assert_eq!(lines("a\rb\r\nc\n\n\rd").collect::<Vec<_>>(), ["a\r", "b\r\n", "c\n", "\n", "\r", "d"]);
    let text = "name: [}\rapiKeyEnv: sk-canary\r";
    let problems = from_str::<serde_json::Value>(text).err().unwrap();
    let shown = Mistakes::new("f", text, problems).rendered(None, false);
    assert!(shown.contains("name: [}") && !shown.contains("canary"), "{shown}");
}
