"""Reports: terminal tables, Pareto fronts, records for machines and the page for a reviewer."""
