//! How lists look, in every format and width.

use super::*;
use schemars::JsonSchema;
use serde::Serialize;

const COLUMNS: Columns = Columns { usual: &["NAME", "LOCAL MODEL"], wide: &["MORE"] };

#[derive(Serialize, JsonSchema)]
struct Model {
    name: String,
}

impl Item for Model {
    const LIST: &'static str = "ModelList";
}

fn listing(format: Format) -> Listing<Model> {
    let row = |name: &str, model: &str| Row {
        name: name.into(),
        cells: vec![name.into(), model.into(), "x".into()],
        document: Model { name: name.into() },
    };
    let rows = vec![row("chat-prod", "gpt-5-mini"), row("a", "=cmd|'/c calc'!A1"), row("b", "")];
    Listing { view: View::new(format, COLUMNS), rows }
}

fn within(width: u16, rows: &[[&str; 2]]) -> String {
    let row = |cells: &[&str; 2]| Row {
        name: cells[0].into(),
        cells: [cells[0], cells[1], ""].map(str::to_owned).to_vec(),
        document: Model { name: cells[0].into() },
    };
    let view = View::new(Format::Table, COLUMNS).within(Some(width));
    Listing { view, rows: rows.iter().map(row).collect() }.text()
}

#[test]
fn a_table_has_no_frame_and_no_trailing_spaces() {
    let text = listing(Format::Table).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "NAME       LOCAL MODEL");
    assert_eq!(lines[1], "chat-prod  gpt-5-mini");
    assert_eq!(lines[3], "b          -");
    assert!(listing(Format::Wide).text().starts_with("NAME       LOCAL MODEL        MORE\n"));
}

#[test]
fn columns_are_chosen_by_title_in_any_order_and_spelling() {
    let text = |format, names: &[&str]| {
        let mut listing = listing(format);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        listing.view = listing.view.with_columns(&names)?;
        Ok::<_, UnknownColumn>(listing.text().lines().take(2).collect::<Vec<_>>().join("|"))
    };
    assert_eq!(text(Format::Table, &["more", "Name"]).unwrap(), "MORE  NAME|x     chat-prod");
    assert_eq!(text(Format::Csv, &["local_model"]).unwrap(), "local_model|gpt-5-mini");
    assert_eq!(
        text(Format::Table, &["modell"]).unwrap_err().to_string(),
        "there is no column \"modell\"; there are: NAME, LOCAL MODEL, MORE"
    );
    let near = text(Format::Table, &["nmae"]).unwrap_err().to_string();
    assert!(near.contains("(did you mean NAME?)"), "{near}");
}

#[test]
fn without_titles_the_rows_stay_as_they_are() {
    for (format, first) in [(Format::Table, "chat-prod  gpt-5-mini"), (Format::Csv, "chat-prod,gpt-5-mini,x")]
    {
        let mut listing = listing(format);
        listing.view = listing.view.without_headers().within(Some(10));
        assert_eq!(listing.text().lines().next(), Some(first));
    }
}

#[test]
fn a_narrow_table_breaks_between_words_and_never_in_one() {
    let rows = [["chat", "a model with a long name"], ["b", "short"]];
    let fits = "NAME  LOCAL MODEL\nchat  a model with a long name\nb     short\n";
    assert_eq!((within(80, &rows), within(32, &rows)), (fits.into(), fits.into()));
    let text = within(22, &rows);
    assert!(text.lines().all(|line| line.width() <= 22) && text.lines().count() > 3, "{text}");
    for word in ["LOCAL", "MODEL", "model", "long"] {
        assert!(text.split_whitespace().any(|part| part == word), "{word} is broken:\n{text}");
    }
}

#[test]
fn a_row_of_words_that_do_not_fit_becomes_a_block() {
    let rows = [["chat-prod", "https://models.example.com:8443/v1"], ["b", ""]];
    let text = within(30, &rows);
    assert_eq!(
        text,
        "NAME         chat-prod\nLOCAL MODEL  https://models.example.com:8443/v1\n\nNAME         b\nLOCAL MODEL  -\n"
    );
}

#[test]
fn the_last_column_breaks_a_word_rather_than_the_table() {
    let path = format!("/home/dana/{}", "folder/".repeat(20));
    let text = within(60, &[["config", &path], ["clock", "right"]]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "NAME    LOCAL MODEL");
    assert_eq!(lines.last(), Some(&"clock   right"));
    assert!(lines.iter().all(|line| line.width() <= 60), "{text}");
    let whole: String = lines[1..lines.len() - 1].iter().map(|line| line[8..].trim_end()).collect();
    assert_eq!(whole, path, "nothing is lost");
}

#[test]
fn wide_characters_take_two_columns() {
    let text = within(80, &[["模型", "x"], ["e\u{301}a", "y"]]);
    assert_eq!(text, "NAME  LOCAL MODEL\n模型  x\ne\u{301}a    y\n");
}

#[test]
fn csv_is_quoted_where_it_must_be_and_safe_for_spreadsheets() {
    let text = listing(Format::Csv).text();
    assert!(text.starts_with("name,local_model,more\nchat-prod,gpt-5-mini,x\n"), "{text}");
    assert!(text.contains("a,'=cmd|'/c calc'!A1,x\n"), "{text}");
    let mut listing = listing(Format::Csv);
    listing.rows[0].cells = ["a,b", "say \"hi\"", "+1\n=2"].map(str::to_owned).to_vec();
    assert!(listing.text().contains("\"a,b\",\"say \"\"hi\"\"\",'+1\u{fffd}=2\n"), "{}", listing.text());
    for sign in ["=", "+", "-", "@", "＝"] {
        assert_eq!(no_formula(format!("{sign}x")), format!("'{sign}x"));
    }
}
