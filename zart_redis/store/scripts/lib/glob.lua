-- Matches a pattern against a whole name: '*' is any text, '?' is one character of UTF-8. The time is bounded by the
-- product of both lengths, whatever the pattern: a server cannot wait for backtracking.

local function glob(pattern, name)
  local p, n, star, resume = 1, 1, nil, 1
  while n <= #name do
    local letter, byte = string.sub(pattern, p, p), string.byte(name, n)
    if letter == '*' then
      star, resume, p = p, n, p + 1
    elseif letter == '?' and (byte < 128 or byte >= 192) then
      p, n = p + 1, n + #string.match(name, '^.[\128-\191]*', n)
    elseif letter ~= '?' and letter == string.sub(name, n, n) then
      p, n = p + 1, n + 1
    elseif star then
      p, resume, n = star + 1, resume + 1, resume + 1
    else
      return false
    end
  end
  return string.find(pattern, '^%**$', p) ~= nil
end
