//! Names and passwords as InfluxQL has them, for the statements that take no bound values.
