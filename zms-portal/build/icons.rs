//! Icons (`static/vendor/icons/*.svg`, copied by `scripts/assets`) to Rust: an icon that nobody copied does not compile.

use std::fmt::Write as _;

/// How every icon begins: as large as the text, in its colour, silent for screen readers because words stand beside it.
const OPENING: &str = r#"<svg class="icon" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">"#;

/// Rust for the function `icon`, from (name, SVG) pairs and the names that are used; or a sentence about what is wrong.
pub fn generate(files: &[(String, String)], used: &[String]) -> Result<String, String> {
    if let Some(missing) = used.iter().find(|name| !files.iter().any(|(known, _)| known == *name)) {
        return Err(format!(
            "icon(\"{missing}\") is not in static/vendor/icons: run scripts/assets, which copies the icons that are used"
        ));
    }
    let mut code = String::from(
        "/// The SVG of a Tabler icon; empty for a name that `scripts/assets` found in no `icon(\"…\")`.\npub fn icon(name: &str) -> &'static str {\n    match name {\n",
    );
    for (name, svg) in files {
        let inner = inner(svg).ok_or(format!("static/vendor/icons/{name}.svg is no SVG: run scripts/assets"))?;
        let _ = writeln!(code, "        {name:?} => {:?},", format!("{OPENING}{inner}</svg>"));
    }
    code.push_str("        _ => \"\",\n    }\n}\n");
    Ok(code)
}

/// What stands between `<svg …>` and `</svg>`, on one line.
fn inner(svg: &str) -> Option<String> {
    let (_, rest) = svg.split_once("<svg")?;
    let (_, rest) = rest.split_once('>')?;
    let (inner, _) = rest.split_once("</svg>")?;
    Some(inner.lines().map(str::trim).collect())
}

/// Names in `icon("…")`.
pub fn used(text: &str) -> Vec<String> {
    let after = text.split("icon(\"").skip(1);
    let names = after.filter_map(|rest| rest.split_once('"').map(|(name, _)| name));
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    names.filter(is_name).map(str::to_owned).collect()
}
