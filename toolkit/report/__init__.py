"""What `report.py` is made of: gathering, figures, texts and `report.typ`, the layout."""
