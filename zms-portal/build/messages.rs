//! Message catalogues (`messages/<slice>.toml`, each key with `en` and `zh`) to Rust: a missing language does not compile.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Rust for `impl Messages`, from (file stem, text) pairs; or every problem with its file and key.
pub fn generate(files: &[(String, String)]) -> Result<String, Vec<String>> {
    let mut code = String::from("impl Messages {\n");
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for (stem, text) in files {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                problems.push(format!("messages/{stem}.toml: {error}"));
                continue;
            }
        };
        for (key, value) in &table {
            // a_b.toml with c and a.toml with b_c would be one function.
            if !known.insert(format!("{stem}_{key}")) {
                problems.push(format!("messages/{stem}.toml: {key}: another file has a text of the name {stem}_{key} already"));
                continue;
            }
            match method(stem, key, value) {
                Ok(text) => code.push_str(&text),
                Err(problem) => problems.push(format!("messages/{stem}.toml: {key}: {problem}")),
            }
        }
    }
    code.push_str("}\n");
    if problems.is_empty() { Ok(code) } else { Err(problems) }
}

fn method(stem: &str, key: &str, value: &toml::Value) -> Result<String, String> {
    if !key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err("a key has lower-case letters, digits and _ only".into());
    }
    let table = value.as_table().ok_or("must be { en = \"…\", zh = \"…\" }")?;
    if let Some(other) = table.keys().find(|language| !["en", "zh"].contains(&language.as_str())) {
        return Err(format!("language {other} is not known; there are en and zh"));
    }
    let text = |language: &str| -> Result<&str, String> {
        let text = table.get(language).and_then(toml::Value::as_str).ok_or(format!("has no text in {language}"))?;
        if text.is_empty() { Err(format!("is empty in {language}")) } else { Ok(text) }
    };
    let (en, zh) = (text("en")?, text("zh")?);
    let parameters = placeholders(en)?;
    let mut others = placeholders(zh)?;
    let mut sorted = parameters.clone();
    sorted.sort();
    others.sort();
    if sorted != others {
        return Err(format!("placeholders differ: en has {sorted:?}, zh has {others:?}"));
    }
    let mut code = String::new();
    let _ = writeln!(code, "    /// {}", en.replace('\n', " ").replace('[', "\\[").replace('<', "\\<"));
    if parameters.is_empty() {
        let _ = writeln!(
            code,
            "    pub fn {stem}_{key}(&self) -> &'static str {{\n        match self.0 {{ Language::English => {en:?}, Language::Chinese => {zh:?} }}\n    }}"
        );
    } else {
        let arguments: String = parameters.iter().map(|name| format!(", {name}: impl std::fmt::Display")).collect();
        let _ = writeln!(
            code,
            "    pub fn {stem}_{key}(&self{arguments}) -> String {{\n        match self.0 {{ Language::English => format!({en:?}), Language::Chinese => format!({zh:?}) }}\n    }}"
        );
    }
    Ok(code)
}

/// Names in braces, each once, in the order of their first appearance.
fn placeholders(text: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['{', '}']) {
        let after = &rest[start + 1..];
        let end = after.find('}').filter(|_| rest[start..].starts_with('{')).ok_or("has a brace without its other")?;
        let name = &after[..end];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()) {
            return Err(format!("placeholder {{{name}}} must have lower-case letters, digits and _ only"));
        }
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
        rest = &after[end + 1..];
    }
    Ok(found)
}
