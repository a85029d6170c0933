//! What is asked of the trail, as SQL: only conditions that somebody asked for, so that the database finds a page by an
//! index and reads it in order. Where it has to sort first, each page costs as much as the whole trail.

use super::COLUMNS;
use jiff::Timestamp;
use mcp_api::AuditEvent;
use sqlx::{Any, AssertSqlSafe, any::AnyArguments, query::Query};

/// What to look for. Everything that is left out matches all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Search {
    pub(crate) after: u64,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) subject: Option<String>,
    /// By name or by id.
    pub(crate) llm: Option<String>,
    pub(crate) event: Option<AuditEvent>,
    pub(crate) limit: u32,
}

/// Where the entries of a time stand. In between there may be others: a server that could not write for a while
/// appends what is older.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// A statement with its values.
#[derive(Debug, Default)]
pub(super) struct Statement<'a> {
    text: String,
    values: Vec<Value<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(i64),
    Text(&'a str),
}

impl Search {
    /// Asks where the entries of its time stand: how many, the first and the last. None if there is no need to know:
    /// any time will do, or it goes on behind the first of them and to the end.
    pub(super) fn span(&self) -> Option<Statement<'_>> {
        let mut statement = Statement::default();
        let times = self.times("at", &mut statement);
        // With the number the database goes by the times, and not by the first that fits from either end.
        statement.text =
            format!("SELECT COUNT(*), MIN(seq), MAX(seq) FROM audit WHERE {}", times.join(" AND "));
        let is_bounded = self.until.is_some() || (self.since.is_some() && self.after == 0);
        is_bounded.then_some(statement)
    }

    /// Asks for a page, within the span if there is one.
    pub(super) fn page(&self, span: Option<Span>) -> Statement<'_> {
        let mut statement = Statement::default();
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let after = span.map_or(after, |span| after.max(span.first.saturating_sub(1)));
        let mut terms = vec![format!("seq > {}", statement.number(after))];
        if let Some(span) = span {
            terms.push(format!("seq <= {}", statement.number(span.last)));
        }
        // The sign keeps the database from going by the time, and sorting.
        terms.extend(self.times("+at", &mut statement));
        if let Some(subject) = &self.subject {
            terms.push(format!("subject_name = {}", statement.text(subject)));
        }
        if let Some(event) = self.event {
            terms.push(format!("event = {}", statement.text(event.as_str())));
        }
        let limit = statement.number(i64::from(self.limit));
        let end = format!("ORDER BY seq LIMIT {limit}");
        let page =
            |terms: &[String]| format!("SELECT {COLUMNS} FROM audit WHERE {} {end}", terms.join(" AND "));
        statement.text = match &self.llm {
            None => page(&terms),
            Some(llm) => {
                let llm = statement.text(llm);
                // A page of each, and not everything of both, which would have to be sorted.
                let [by_name, by_id] =
                    [format!("llm = {llm}"), format!("llm_id = {llm} AND COALESCE(llm, '') <> {llm}")]
                        .map(|term| page(&[&terms[..], &[term]].concat()));
                format!(
                    "SELECT * FROM ({by_name}) AS by_name UNION ALL SELECT * FROM ({by_id}) AS by_id {end}"
                )
            }
        };
        statement
    }

    fn times(&self, at: &str, statement: &mut Statement<'_>) -> Vec<String> {
        let bounds = [(self.since, ">="), (self.until, "<")];
        let asked = bounds.into_iter().filter_map(|(time, is)| Some((time?, is)));
        asked.map(|(time, is)| format!("{at} {is} {}", statement.number(time.as_millisecond()))).collect()
    }
}

impl<'a> Statement<'a> {
    fn number(&mut self, number: i64) -> String {
        self.value(Value::Number(number))
    }

    fn text(&mut self, text: &'a str) -> String {
        self.value(Value::Text(text))
    }

    /// The place at which a value is bound: nothing else of what somebody asks for comes into the text.
    fn value(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Ready to be run.
    pub(super) fn query(&self) -> Query<'a, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        self.values.iter().fold(query, |query, value| match *value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{database::Database, store::open};
    use sqlx::{Connection, Row as _};

    /// How SQLite goes about it.
    async fn plan(connection: &mut sqlx::AnyConnection, statement: Statement<'_>) -> String {
        let text = format!("EXPLAIN QUERY PLAN {}", statement.text);
        let rows = Statement { text, ..statement }.query().fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(3)).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn every_page_is_found_by_an_index_and_never_sorted() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::find(None, Some(&folder.path().join("data")), |_| None).unwrap();
        open(database.clone()).await.unwrap().close().await;
        let mut connection = sqlx::AnyConnection::connect(&format!("sqlite://{database}")).await.unwrap();
        let time = Some(Timestamp::UNIX_EPOCH);
        let all = || Search { after: 7, limit: 1000, ..Search::default() };
        let (subject, llm) = (Some("dana".to_owned()), Some("chat".to_owned()));
        let cases = [
            (all(), "sqlite_autoindex_audit_1 (seq>?)"),
            (Search { subject: subject.clone(), ..all() }, "audit_subject (subject_name=? AND seq>?)"),
            (Search { event: Some(AuditEvent::Change), ..all() }, "audit_event (event=? AND seq>?)"),
            (Search { llm: llm.clone(), ..all() }, "audit_llm (llm=? AND seq>?)"),
            (Search { llm: llm.clone(), ..all() }, "audit_llm_id (llm_id=? AND seq>?)"),
            (Search { since: time, ..all() }, "sqlite_autoindex_audit_1 (seq>?)"),
            (Search { since: time, after: 0, ..all() }, "sqlite_autoindex_audit_1 (seq>? AND seq<?)"),
            (Search { since: time, until: time, subject, llm, ..all() }, "AND seq>? AND seq<?)"),
        ];
        for (search, index) in cases {
            let span = search.span().map(|_| Span { first: 1, last: 9 });
            let plan = plan(&mut connection, search.page(span)).await;
            assert!(plan.contains(index), "{search:?}: {plan}");
            // What was found may be sorted after that: two pages, of which one is made.
            let is_sorted = plan.contains("?)\nUSE TEMP B-TREE");
            assert!(!is_sorted && !plan.contains("SCAN audit"), "{search:?}: {plan}");
        }
        let span = Search { until: time, ..all() };
        let plan = plan(&mut connection, span.span().unwrap()).await;
        assert!(plan.contains("COVERING INDEX audit_at (at<?)"), "{plan}");
    }
}
