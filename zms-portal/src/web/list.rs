//! Lists whose state lives in the address: filter, sort key, direction, page. A link to a list is the list.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::form::encode;

/// Most rows of a page, and how many without a wish.
const MOST: usize = 500;
const USUAL: usize = 50;

/// Longest filter, in characters.
const LONGEST_FILTER: usize = 200;

/// Most parameters of the slice itself that links carry on.
const MOST_OTHERS: usize = 20;

/// What the address says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ListQuery {
    /// Text to filter by.
    pub q: String,
    /// Sort key.
    pub sort: String,
    /// `desc` for descending.
    pub dir: String,
    /// Page, from 1.
    pub page: String,
    /// Rows of a page.
    pub size: String,
    /// `csv` for a download of all rows.
    pub format: String,
    /// Parameters of the slice itself; links of the list keep them.
    #[serde(flatten)]
    pub others: BTreeMap<String, String>,
}

/// A list's state, checked against what the list can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Text to filter by, lower case.
    pub filter: String,
    /// One of the list's sort keys.
    pub sort: &'static str,
    /// From the largest to the smallest.
    pub descending: bool,
    /// From 1.
    pub page: usize,
    /// Rows of a page.
    pub size: usize,
    /// All rows as CSV.
    pub csv: bool,
    typed: String,
    others: Vec<(String, String)>,
}

/// The rows of one page, and how many there are.
#[derive(Debug)]
pub struct Rows<T> {
    /// This page's.
    pub rows: Vec<T>,
    /// After the filter.
    pub found: usize,
    /// Before it.
    pub all: usize,
}

impl List {
    /// Checks the query against the sort keys of a list; the first is its default.
    pub fn new(query: &ListQuery, keys: &[&'static str]) -> Self {
        let sort = keys.iter().copied().find(|key| *key == query.sort).or(keys.first().copied()).unwrap_or_default();
        let typed: String = query.q.chars().take(LONGEST_FILTER).collect();
        Self {
            filter: typed.trim().to_lowercase(),
            sort,
            descending: query.dir == "desc",
            page: query.page.parse().unwrap_or(1).max(1),
            size: query.size.parse().unwrap_or(USUAL).clamp(1, MOST),
            csv: query.format == "csv",
            typed,
            others: query.others.iter().take(MOST_OTHERS).map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// Filters, sorts and cuts. `text` is what a row is searched in. A page behind the last one is the last one.
    pub fn apply<T>(
        &self,
        mut rows: Vec<T>,
        text: impl Fn(&T) -> String,
        compare: impl Fn(&'static str, &T, &T) -> Ordering,
    ) -> Rows<T> {
        let all = rows.len();
        if !self.filter.is_empty() {
            rows.retain(|row| text(row).to_lowercase().contains(&self.filter));
        }
        rows.sort_by(|a, b| if self.descending { compare(self.sort, b, a) } else { compare(self.sort, a, b) });
        let found = rows.len();
        if !self.csv {
            rows = rows.into_iter().skip((self.shown(&found) - 1) * self.size).take(self.size).collect();
        }
        Rows { rows, found, all }
    }

    /// The page that is shown of so many rows.
    pub fn shown(&self, found: &usize) -> usize {
        self.page.min(self.pages(found))
    }

    /// Parameters of the slice itself, for hidden fields of the filter's form.
    pub fn others(&self) -> &[(String, String)] {
        &self.others
    }

    /// The filter as it was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// How many pages there are for so many rows.
    pub fn pages(&self, found: &usize) -> usize {
        found.div_ceil(self.size).max(1)
    }

    /// The query of another page of the same list.
    pub fn at_page(&self, page: &usize) -> String {
        self.query(self.sort, self.descending, *page)
    }

    /// The query that sorts by `key`; by the same key the other way round.
    pub fn sorted_by(&self, key: &str) -> String {
        self.query(key, key == self.sort && !self.descending, 1)
    }

    /// `ascending`, `descending` or `none`, for `aria-sort`.
    pub fn aria(&self, key: &str) -> &'static str {
        match (key == self.sort, self.descending) {
            (false, _) => "none",
            (true, false) => "ascending",
            (true, true) => "descending",
        }
    }

    /// The query of the CSV of the same list.
    pub fn as_csv(&self) -> String {
        format!("{}&format=csv", self.query(self.sort, self.descending, 1))
    }

    fn query(&self, sort: &str, descending: bool, page: usize) -> String {
        let dir = if descending { "desc" } else { "asc" };
        let others: String = self.others.iter().map(|(name, value)| format!("&{}={}", encode(name), encode(value))).collect();
        format!("?q={}&sort={}&dir={dir}&page={page}&size={}{others}", encode(&self.typed), encode(sort), self.size)
    }
}

/// One CSV row (RFC 4180). A field that a spreadsheet would run as a formula gets a quote in front; a number does not.
pub fn csv_row<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields = fields.into_iter().map(|field| {
        let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<f64>().is_err();
        format!("\"{}{}\"", if formula { "'" } else { "" }, field.replace('"', "\"\""))
    });
    format!("{}\r\n", fields.collect::<Vec<_>>().join(","))
}

/// A download of CSV. It begins with a byte order mark: without it spreadsheets take UTF-8 for something else.
pub fn csv(name: &str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{}.csv\"", encode(name));
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, format!("\u{feff}{text}")).into_response()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 2] = ["name", "age"];

    #[test]
    fn a_list_filters_sorts_and_cuts() {
        let query = ListQuery { q: "A".into(), sort: "age".into(), dir: "desc".into(), size: "2".into(), ..ListQuery::default() };
        let list = List::new(&query, &KEYS);
        let rows = vec![("anna", 3), ("bob", 4), ("clara", 5), ("dana", 1)];
        let found = list.apply(rows, |row| row.0.to_owned(), |key, a, b| if key == "age" { a.1.cmp(&b.1) } else { a.0.cmp(b.0) });
        assert_eq!((found.rows, found.found, found.all), (vec![("clara", 5), ("anna", 3)], 3, 4));
        assert_eq!(list.sorted_by("age"), "?q=A&sort=age&dir=asc&page=1&size=2");
        assert_eq!(list.aria("age"), "descending");
    }

    #[test]
    fn a_formula_does_not_run_in_a_spreadsheet() {
        assert_eq!(csv_row(["=1+1", "a\"b", "x,y", "-5", "-5+cmd"]), "\"'=1+1\",\"a\"\"b\",\"x,y\",\"-5\",\"'-5+cmd\"\r\n");
    }

    #[test]
    fn links_keep_what_the_slice_filters_by_itself() {
        let others = BTreeMap::from([("status".to_owned(), "on line&x".to_owned())]);
        let list = List::new(&ListQuery { others, ..ListQuery::default() }, &KEYS);
        assert_eq!(list.at_page(&2), "?q=&sort=name&dir=asc&page=2&size=50&status=on%20line%26x");
    }

    #[test]
    fn a_page_behind_the_last_one_is_the_last_one() {
        let list = List::new(&ListQuery { page: "9".into(), size: "2".into(), ..ListQuery::default() }, &KEYS);
        let rows = list.apply(vec![1, 2, 3], i32::to_string, |_, a, b| a.cmp(b));
        assert_eq!((rows.rows, list.shown(&rows.found)), (vec![3], 2));
    }

    proptest! {
        #[test]
        fn no_query_breaks_a_list(q: String, sort: String, page: String, size: String) {
            let list = List::new(&ListQuery { q, sort, page, size, ..ListQuery::default() }, &KEYS);
            prop_assert!(KEYS.contains(&list.sort) && (1..=MOST).contains(&list.size) && list.page >= 1);
            let rows = list.apply((0..1000).collect(), |n: &i32| n.to_string(), |_, a, b| a.cmp(b));
            prop_assert!(rows.rows.len() <= list.size && rows.rows.is_empty() == (rows.found == 0));
            prop_assert!(list.sorted_by("name").starts_with("?q=") && !list.sorted_by("name").contains(['<', '"', ' ']));
        }

        #[test]
        fn a_csv_field_comes_back_as_it_was(field in "[^=+@\\t\\r-].{0,20}") {
            let row = csv_row([field.as_str()]);
            let inside = row.strip_prefix('"').and_then(|row| row.strip_suffix("\"\r\n")).unwrap();
            prop_assert_eq!(inside.replace("\"\"", "\""), field);
        }
    }
}
