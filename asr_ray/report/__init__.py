"""What all HTML reports share: the page with its style sheet, drawings as SVG, numbers as people read them."""
