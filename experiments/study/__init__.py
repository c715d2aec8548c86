"""The frame of every study: options, work and resume, records, statements, report."""
