"""Which training conditions give the counts of [P, Tables 4 and 5]: a search over a declared grid."""
