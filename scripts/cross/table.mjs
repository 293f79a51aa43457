// @ts-check
// The tables that the two commands print.

/**
 * @param {{ platform: string, size: number, seconds?: number | undefined, problems: string[], notes: string[] }[]} results
 */
export function table(results) {
  const rows = results.map(({ platform, size, seconds, problems, notes }) => [
    platform,
    size.toLocaleString('en'),
    seconds === undefined ? '' : `${seconds} s`,
    problems.length === 0 ? 'passed' : `${problems.length} FAILED`,
    notes.join(', '),
  ])
  return aligned([['platform', 'bytes', 'built in', 'static checks', 'what was found'], ...rows])
}

/** Lines whose columns are below each other. @param {string[][]} rows */
export function aligned(rows) {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
