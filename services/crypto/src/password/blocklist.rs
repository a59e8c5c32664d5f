//! The passwords that attackers try first, folded (NFKC, lower case) and sorted. They are the most frequent in every leaked list.

/// On the list, or a listed one with a short tail of digits or signs.
pub(super) fn contains(folded: &str) -> bool {
    let listed = |s: &str| COMMON.binary_search(&s).is_ok();
    let starts = folded.char_indices().map(|(i, _)| i).chain([folded.len()]);
    starts.filter_map(|i| folded.split_at_checked(i)).any(|(head, tail)| is_tail(tail) && listed(head))
}

/// At most four characters, none of them a letter. People append such a tail to satisfy a password rule.
pub(super) fn is_tail(s: &str) -> bool {
    s.chars().count() <= 4 && !s.chars().any(char::is_alphabetic)
}

#[rustfmt::skip]
pub(super) const COMMON: &[&str] = &[
    "000000", "00000000", "01012000", "0987654321", "111111", "11111111", "11112222", "112233", "11223344",
    "121212", "12121212", "123123", "12312312", "123123123", "123321", "1234", "12341234", "12344321", "12345",
    "123454321", "1234554321", "123456", "1234567", "12345678", "123456789", "1234567890", "1234abcd",
    "123654789", "123abc", "123qwe", "123qwe123", "123qweasd", "12qwaszx", "131313", "13579", "1357924680",
    "14725836", "147258369", "147852369", "159753", "19841984", "19901990", "1q2w3e", "1q2w3e4r", "1q2w3e4r5t",
    "1qaz2wsx", "1qaz2wsx3edc", "1qazxsw2", "20002000", "20202020", "22222222", "2468", "24681357", "31415926",
    "314159265", "321321321", "33333333", "5201314", "55555555", "66666666", "696969", "69696969", "741852963",
    "7777777", "77777777", "789456123", "87654321", "88888888", "987654321", "9876543210", "99999999",
    "a123456", "a12345678", "a123456789", "a1b2c3", "a1b2c3d4", "aa123456", "aaaaaaaa", "abc123", "abc12345",
    "abcd1234", "abcdef123", "abcdefgh", "access123", "access14", "admin", "admin123", "administrator",
    "alexander", "alexandra", "andrew", "android", "angel123", "angels", "anthony", "anything", "apple123",
    "arsenal", "arsenal1", "asdf1234", "asdfasdf", "asdfgh", "asdfghjk", "asdfghjkl", "ashley", "ashley1",
    "autumn2024", "azerty", "azertyuiop", "backup", "backup123", "backupkey", "bailey123", "banana",
    "banana123", "barcelona", "baseball", "baseball1", "basketball", "batman", "batman123", "benjamin",
    "beyonce", "blessed1", "blink182", "bonjour", "brasil10", "buster123", "butterfly", "changeit", "changeme",
    "changeme1", "charlie", "charlie1", "chatchat", "cheese123", "chelsea", "chelsea1", "chocolate", "chouchou",
    "christian", "christopher", "cocacola", "computer", "computer1", "contrasena", "contraseña", "cookie",
    "cookie123", "corinthians", "correct horse battery staple", "correcthorsebatterystaple", "corvette",
    "cowboys", "cowboys1", "crystal", "daniel", "daniel1", "december", "default", "default1", "diamond",
    "dolphin", "dolphins", "donald", "donaldduck", "doudou", "dragon", "dragon123", "eagle123", "elephant",
    "elizabeth", "eminem", "estrella", "facebook", "facebook1", "falcon", "ferrari", "flamengo", "flower",
    "flowers", "football", "football1", "forever", "forever1", "fortnite", "freedom", "freedom1", "friday123",
    "garfield", "ginger123", "gmail123", "godisgood", "golden123", "goodbye", "google", "google1", "google123",
    "guest123", "hallo123", "harley", "haslo123", "heaven", "hello world", "hello123", "hello1234",
    "hellohello", "helloworld", "heslo123", "hockey", "holiday", "hotmail", "hunter", "hunter123", "hunter2",
    "ilovegod", "iloveu", "iloveyou", "iloveyou1", "iloveyou2", "instagram", "internet", "internet1", "iphone",
    "january", "jennifer", "jessica", "jessica1", "jesus123", "jesuschrist", "jonathan", "jordan", "jordan23",
    "joshua", "juventus", "kennwort", "killer123", "lakers", "letmein", "letmein1", "letmein123", "linkedin",
    "lion1234", "liverpool", "liverpool1", "login123", "loulou", "lovely", "lover123", "loveyou", "lösenord",
    "maggie", "manchester", "mariposa", "marseille", "master", "master123", "matthew", "mercedes", "metallica",
    "michael", "michael1", "michelle", "mickey", "mickeymouse", "microsoft", "midnight", "minecraft",
    "monday123", "monkey", "monkey123", "motdepasse", "mustang", "mustang1", "mychats", "mypassword",
    "mypassword1", "mysecret", "nicholas", "nicole", "nicole1", "nirvana", "nopass123", "nopassword",
    "nothing1", "november", "orange123", "p455w0rd", "p@ssw0rd", "p@ssword", "pa$$word", "parola", "parolamea",
    "pass1234", "pass12345", "passord", "passpass", "passphrase", "passw0rd", "passw0rd1", "password",
    "password!", "password1", "password1!", "password12", "password123", "password1234", "password2",
    "passwordpassword", "passwords", "passwort", "passwort1", "patricia", "penguin", "pepper123", "phoenix",
    "phoenix1", "pikachu", "pokemon", "polska12", "porsche", "princess", "princess1", "q1w2e3r4", "q1w2e3r4t5",
    "qazwsx", "qazwsxedc", "qwe123", "qweasd123", "qweasdzxc", "qweqweqwe", "qwer1234", "qwerty", "qwerty1",
    "qwerty12", "qwerty123", "qwertyui", "qwertyuiop", "qwertz", "qwertzuiop", "rainbow", "rainbow1", "rangers",
    "realmadrid", "redsox", "robert", "roblox", "root1234", "salasana", "samantha", "samsung", "samsung1",
    "schalke04", "schatz", "sebastian", "secret", "secret12", "secret123", "senha123", "september", "shadow",
    "shadow123", "silver123", "simpsons", "slipknot", "snoopy", "soccer", "softball", "soleil", "sommer123",
    "spiderman", "spring2024", "spring2025", "starwars", "steelers", "stephanie", "success", "success1",
    "summer", "summer2023", "summer2024", "summer2025", "sunflower", "sunshine", "sunshine1", "superman",
    "superuser", "teamomucho", "temp1234", "temppass", "tequiero", "test123", "test1234", "tester123",
    "testing", "testing123", "testtest", "thepassword", "thomas", "tiger123", "tigger", "tigger123", "together",
    "toor1234", "trustno1", "turtle123", "twitter", "vacation", "victoria", "volleyball", "wachtwoord",
    "welcome", "welcome1", "welcome123", "welkom01", "whatever", "whatever1", "whatsapp", "whatsapp123",
    "william", "windows", "windows1", "windows10", "winter", "winter2023", "winter2024", "winter2025", "woaini",
    "woaini1314", "woaini520", "xxxxxxxx", "yamaha11", "yankees", "yourpassword", "youtube", "yuantuo2012",
    "zaq12wsx", "zaq1zaq1", "zxcvbnm", "zxcvbnm1", "zxcvbnm123", "zzzzzzzz", "йцукен", "йцукенг",
    "йцукенгшщз", "любовь", "пароль", "привет",
];
