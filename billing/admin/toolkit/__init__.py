"""What all pages for staff are made of: forms, actions, tables, pages, formats, filters, search."""
