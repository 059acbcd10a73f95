-- Whether a pattern matches a whole name: '*' stands for any text, '?' for one character of UTF-8. The time it takes
-- grows with the product of both lengths at most, whatever the pattern: a server cannot wait for backtracking.

local function glob(pattern, name)
  local p, n, star, mark = 1, 1, nil, 1
  while n <= #name do
    local letter, byte = string.sub(pattern, p, p), string.byte(name, n)
    if letter == '*' then
      star, mark, p = p, n, p + 1
    elseif letter == '?' and (byte < 128 or byte >= 192) then
      p, n = p + 1, n + #string.match(name, '^.[\128-\191]*', n)
    elseif letter ~= '?' and letter == string.sub(name, n, n) then
      p, n = p + 1, n + 1
    elseif star then
      p, mark, n = star + 1, mark + 1, mark + 1
    else
      return false
    end
  end
  return string.find(pattern, '^%**$', p) ~= nil
end
