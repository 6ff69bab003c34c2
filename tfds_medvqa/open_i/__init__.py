"""Open-I: chest X-rays of Indiana University with their reports and coded findings."""
