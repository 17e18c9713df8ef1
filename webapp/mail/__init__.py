"""Letters: kept with what caused them, sent by a job."""
