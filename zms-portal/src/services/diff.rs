//! What changes in a file, line by line.

use serde::Serialize;

/// Beyond this many lines in the part that differs, old and new are shown one after the other instead of woven together.
const MOST: usize = 2000;

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Line {
    /// What becomes of it.
    pub change: LineChange,
    /// The line without its end.
    pub text: String,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineChange {
    /// It stays.
    Same,
    /// It is new.
    Added,
    /// It goes.
    Removed,
}

/// The lines of `old` and `new` woven together along their longest common part.
pub fn lines(old: &str, new: &str) -> Vec<Line> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = (old.len() - head).min(new.len() - head);
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let (left, right) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let same = |text: &&str| line(LineChange::Same, text);
    let mut out: Vec<Line> = old[..head].iter().map(same).collect();
    out.extend(woven(left, right));
    out.extend(old[old.len() - tail..].iter().map(same));
    out
}

fn line(change: LineChange, text: &str) -> Line {
    Line { change, text: text.to_owned() }
}

fn woven(old: &[&str], new: &[&str]) -> Vec<Line> {
    if old.len() > MOST || new.len() > MOST {
        let removed = old.iter().map(|text| line(LineChange::Removed, text));
        return removed.chain(new.iter().map(|text| line(LineChange::Added, text))).collect();
    }
    // longest[i][j]: length of the longest common part of old[i..] and new[j..].
    let mut longest = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = if old[i] == new[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push(line(LineChange::Same, old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            out.push(line(LineChange::Removed, old[i]));
            i += 1;
        } else {
            out.push(line(LineChange::Added, new[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(lines: &[Line]) -> String {
        let sign = |change| match change {
            LineChange::Same => ' ',
            LineChange::Added => '+',
            LineChange::Removed => '-',
        };
        lines.iter().map(|line| format!("{}{}\n", sign(line.change), line.text)).collect()
    }

    #[test]
    fn a_changed_value_is_one_line_out_and_one_in() {
        let old = "dataDir={data}\ntickTime=2000\ninitLimit=10\n";
        let new = "dataDir={data}\ntickTime=3000\ninitLimit=10\nextra=1\n";
        assert_eq!(shown(&lines(old, new)), " dataDir={data}\n-tickTime=2000\n+tickTime=3000\n initLimit=10\n+extra=1\n");
    }

    proptest! {
        #[test]
        fn the_old_and_the_new_text_can_be_read_back(old in "[ab\n]{0,24}", new in "[ab\n]{0,24}") {
            let woven = lines(&old, &new);
            let without = |change| woven.iter().filter(|line| line.change != change).map(|line| line.text.as_str()).collect::<Vec<_>>();
            prop_assert_eq!(without(LineChange::Added), old.lines().collect::<Vec<_>>());
            prop_assert_eq!(without(LineChange::Removed), new.lines().collect::<Vec<_>>());
        }
    }
}
