"""What the reports of the experiments have in common: tables, their cells, and what the seeds say."""
