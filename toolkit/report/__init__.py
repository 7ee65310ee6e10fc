"""The parts of `report.py`: results, diagnoses, importances, texts in each language, and the layout."""
