"""What the tests share: the reference, the golden cases, and real servers to run against."""
