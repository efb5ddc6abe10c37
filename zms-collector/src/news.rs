//! What lasts is said once.

/// What stands in the way, as it was said last; empty when nothing does.
#[derive(Debug, Default)]
pub struct News(String);

impl News {
    /// Remembers what stands in the way now; is that another matter than before?
    pub fn is_new(&mut self, now: &str) -> bool {
        let new = self.0 != now;
        if new {
            now.clone_into(&mut self.0);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_new_once_and_its_end_is_news_too() {
        let mut news = News::default();
        let said: Vec<bool> = ["", "away", "away", "refused", "", ""].iter().map(|now| news.is_new(now)).collect();
        assert_eq!(said, [false, true, false, true, true, false]);
    }
}
