"""What all HTML reports share: page and style sheet, drawings as SVG, numbers as people read them."""
