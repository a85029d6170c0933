//! What a terminal gets beside the words: colours where they are wanted, and lines that break between words.

use super::{Run, UNWRITABLE};
use crate::{
    cmd::Color,
    environment::Environment,
    render::{Format, Item, Listing, escape_lines},
};
use anyhow::Context as _;
use clap::builder::styling::{AnsiColor, Styles};
use textwrap::{Options, WordSplitter};

/// What clap says of a command line looks like what we say of everything else.
pub(in crate::cmd) const STYLES: Styles = Styles::plain().error(AnsiColor::Red.on_default());

/// Says whether a stream gets colours.
pub(super) fn colours(when: Color, env: &Environment, is_terminal: bool) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if env.var("NO_COLOR").is_some() => false,
        Color::Auto if env.var("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        Color::Auto => is_terminal && env.var("TERM") != Some("dumb"),
    }
}

impl Run<'_> {
    pub(super) fn colours(&self, is_terminal: bool) -> bool {
        colours(self.global.color, &self.env, is_terminal)
    }

    /// A line of the answer in a colour, where colours are wanted.
    pub fn coloured(&self, colour: &str, line: &str) -> String {
        if self.colours(self.io.out_is_terminal) {
            format!("\x1b[{colour}m{line}\x1b[0m")
        } else {
            line.to_owned()
        }
    }

    /// Shows a list whose rows begin with a word; some of these words have a colour.
    pub fn show_marked<T: Item>(
        &mut self,
        listing: &Listing<T>,
        colours: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let is_table = matches!(listing.view.format(), Format::Table | Format::Wide);
        if !is_table || !self.colours(self.io.out_is_terminal) {
            return self.show(listing);
        }
        // What comes from outside is made harmless before it is painted.
        let text = escape_lines(&listing.text());
        let painted = |line: &str| {
            let mark = colours.iter().find(|(word, _)| line.split(' ').next() == Some(word));
            mark.map_or_else(
                || format!("{line}\n"),
                |(word, colour)| format!("{}{}\n", self.coloured(colour, word), &line[word.len()..]),
            )
        };
        let text: String = text.lines().map(painted).collect();
        self.io.out.write_all(text.as_bytes()).context(UNWRITABLE)
    }

    pub(super) fn painted(&self, what: &str, line: &str) -> String {
        let colour = match what {
            "error" => "31",
            "warning" => "33",
            _ => "2",
        };
        match line.strip_prefix(what) {
            Some(rest) if self.colours(self.io.err_is_terminal) => {
                format!("\x1b[{colour}m{what}\x1b[0m{rest}")
            }
            Some(_) | None => line.to_owned(),
        }
    }

    /// Lines for people, as long as their terminal takes them. A pipe gets them as they are, and so does whoever wants
    /// to copy a command.
    pub(super) fn fitted(&self, text: &str, hanging: &str) -> String {
        let width = self.io.err_width.filter(|_| self.io.err_is_terminal && !self.is_dumb());
        width.map_or(text.to_owned(), |width| wrapped(text, width, hanging))
    }
}

fn wrapped(text: &str, width: u16, hanging: &str) -> String {
    let options = Options::new(width.into())
        .subsequent_indent(hanging)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    let one = |line: &str| {
        if line.trim_start().starts_with("tip: ") { line.to_owned() } else { textwrap::fill(line, &options) }
    };
    text.lines().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_commands_nowhere() {
        assert_eq!(
            wrapped("error: cannot reach chat-prod.example.com:443: refused", 30, "  "),
            "error: cannot reach\n  chat-prod.example.com:443:\n  refused"
        );
        assert_eq!(wrapped("  no failover: none", 12, "    "), "  no\n    failover:\n    none");
        assert_eq!(wrapped("  tip: mcpctl doctor", 8, "    "), "  tip: mcpctl doctor");
        assert_eq!(wrapped("https://a.example/a-long-path", 8, ""), "https://a.example/a-long-path");
    }

    #[test]
    fn who_wants_no_colours_gets_none() {
        let env = |vars: &[(&str, &str)]| {
            vars.iter().fold(Environment::default(), |env, (name, value)| env.with(name, value))
        };
        let force = ("CLICOLOR_FORCE", "1");
        let no = ("NO_COLOR", "1");
        for (when, vars, is_terminal, is_coloured) in [
            (Color::Auto, &[][..], true, true),
            (Color::Auto, &[], false, false),
            (Color::Auto, &[force], false, true),
            (Color::Auto, &[no], true, false),
            (Color::Auto, &[no, force], true, false),
            (Color::Auto, &[("TERM", "dumb")], true, false),
            (Color::Always, &[no], false, true),
            (Color::Never, &[force], true, false),
        ] {
            assert_eq!(colours(when, &env(vars), is_terminal), is_coloured, "{when:?} {vars:?}");
        }
    }
}
