//! Sorts what InfluxDB answers.
