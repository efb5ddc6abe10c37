//! A broker before its stop.

use crate::broker::{BrokerError, BrokerId, Ensured};
use crate::rocketmq::remoting::{Request, RequestCode};

use super::RocketMqAdmin;

/// A broker combines it with the permission of each topic when it registers: 6 is read and write, 4 is read alone.
const PERMISSION: &str = "brokerPermission";
const READ: &str = "4";

/// A value in the text of a broker's settings, a `key=value` a line.
pub(super) fn value<'a>(settings: &'a str, key: &str) -> Option<&'a str> {
    settings.lines().find_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == key)).map(|(_, value)| value.trim())
}

impl RocketMqAdmin {
    /// Taking the permission away on name servers instead (205) lasts until the broker registers again, half a minute at most.
    pub(super) async fn retire(&self, broker: &BrokerId) -> Result<Ensured, BrokerError> {
        let what = format!("an end of sends to broker {broker}");
        let info = self.cluster(&what).await?;
        let Some((_, address)) = info.all().find(|(id, _)| id == broker) else {
            return Err(BrokerError::Missing { what: format!("broker {broker}") });
        };
        let ask = async |request| self.remoting.ask(address, request).await.map_err(|error| self.classify(&what, error));
        let settings = ask(Request::new(RequestCode::GetBrokerConfig)).await?;
        if value(&String::from_utf8_lossy(&settings.body), PERMISSION) == Some(READ) {
            return Ok(Ensured::There);
        }
        ask(Request::new(RequestCode::UpdateBrokerConfig).with_body(format!("{PERMISSION}={READ}"))).await?;
        Ok(Ensured::Made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_by_its_whole_name() {
        let settings = "brokerPermissions=1\n#brokerPermission=2\nbrokerPermission = 4 \nlast=\n";
        for (key, found) in [(PERMISSION, Some(READ)), ("last", Some("")), ("broker", None)] {
            assert_eq!(value(settings, key), found, "{key}");
        }
    }
}
