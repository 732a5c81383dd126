"""Labels in other tools' formats."""
