"""Tables that print as text and show as HTML in a notebook."""

from html import escape


class Table:
    """A table with a header, rows, a total and a line below."""

    def cells(self) -> list[list[str]]:
        """The header, the rows and the total, in words."""
        raise NotImplementedError

    def footer(self) -> str:
        """The line below."""
        raise NotImplementedError

    def __str__(self) -> str:
        cells = self.cells()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self.footer()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self.cells()
        rows = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
        rows += [
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
        ]
        return f"<table>{''.join(rows)}</table><p>{escape(self.footer())}</p>"
